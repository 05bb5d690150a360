/** Below the plot, in words: what was nearly an action in the visible part, and why there was no event. */

import { actionName } from "./action_names.js";

/** With more, the highest are listed. */
const MAX_LISTED = 3;
const NONE = "No near misses in this part.";
const element = (id) => document.getElementById(id);

export class NearMisses {
  #clock;
  #onSelect;
  #list = element("plot-misses");
  #shown = null;

  /** `clock` is a SessionClock. `onSelect(at_s, region)` is called when the user asks to see one. */
  constructor(clock, onSelect) {
    this.#clock = clock;
    this.#onSelect = onSelect;
  }

  close() {
    this.#list.replaceChildren();
  }

  /** Takes the near misses of a rules trial, each with `why` and `score`, or null, and the visible part. */
  show(misses, from_s, to_s) {
    if (misses === null) return;
    const inPart = misses.filter(({ peak_s }) => peak_s >= from_s && peak_s <= to_s);
    const highest = inPart.toSorted((one, other) => other.peak - one.peak).slice(0, MAX_LISTED);
    const listed = highest.sort((one, other) => one.peak_s - other.peak_s);
    // The plot is drawn many times a second.
    const shown = listed.map((miss) => `${this.#clock.text(miss.peak_s)} ${sentenceOf(miss)}`).join("\n");
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#list.replaceChildren(...(listed.length > 0 ? listed.map((miss) => this.#item(miss)) : [textItem(NONE)]));
  }

  #item(miss) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "link";
    button.textContent = this.#clock.text(miss.peak_s);
    button.setAttribute("aria-label", `Show ${button.textContent}`);
    button.addEventListener("click", () => this.#onSelect(miss.peak_s, miss.region));
    const item = textItem("");
    item.append("○ ", button, ` ${sentenceOf(miss)}`);
    return item;
  }
}

/** Why a near miss was not an event. */
export function sentenceOf({ label, score, why }) {
  return `${actionName(label)} ${score} was not an event: ${why}.`;
}

function textItem(text) {
  const item = document.createElement("li");
  item.textContent = text;
  return item;
}
