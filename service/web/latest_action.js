/** The latest action of a session in large letters: its label and time, its latency, and whether it was right. */

import { actionName } from "./action_names.js";
import { hueOf } from "./colours.js";
import { ago, clockName, inRegion, percent, span, tenths, timeOf } from "./format.js";
import { whyLate } from "./lateness.js";

const AGES_MS = 1000;
const element = (id) => document.getElementById(id);

export class LatestAction {
  #labels;
  #verdicts;
  #action = null;
  #isLive;
  #ages = setInterval(() => this.#showAge(), AGES_MS);

  /** `verdicts` are a Verdicts, `isLive()` says whether ages matter. */
  constructor(labels, verdicts, isLive) {
    this.#labels = labels;
    this.#verdicts = verdicts;
    this.#isLive = isLive;
    element("latest-facts").hidden = true;
    element("latest-none").hidden = false;
    element("latest-verdicts").hidden = true;
    element("latest-label").textContent = "None";
    element("latest-late").textContent = "";
    element("latest").classList.add("empty");
    this.#showAge();
  }

  close() {
    clearInterval(this.#ages);
  }

  show(action) {
    this.#action = action;
    const card = element("latest");
    card.classList.remove("empty");
    card.style.setProperty("--hue", hueOf(action.label, this.#labels));
    element("latest-facts").hidden = false;
    element("latest-none").hidden = true;
    element("latest-label").textContent = actionName(action.label) + inRegion(action);
    element("latest-clock").textContent = clockName(Boolean(action.start_time));
    element("latest-when").textContent = timeOf(action);
    element("latest-score").textContent = percent(action.score);
    element("latest-score").title = scoreTitle(action);
    element("latest-delay").textContent = tenths(action.decided_s - action.start_s);
    element("latest-latency").textContent = span(action.latency_s.total);
    element("latest-late").textContent = whyLate(action.latency_s);
    element("latest-verdicts").hidden = false;
    element("latest-verdicts").lastElementChild.replaceChildren(...this.#verdicts.wordedButtons(action));
    this.#showAge();
    card.classList.remove("fresh");
    requestAnimationFrame(() => card.classList.add("fresh"));
  }

  #showAge() {
    element("latest-so-far").hidden = !this.#isLive();
    const text = this.#action !== null && this.#isLive() ? ago(this.#action.time) : "";
    if (element("latest-age").textContent !== text) element("latest-age").textContent = text;
  }
}

/** Explains the score of an action. */
export function scoreTitle({ start_s, decided_s }) {
  if (decided_s - start_s < 0.05) return "The score of the frame at which the action started.";
  const mean = `The mean from the start to the decision ${tenths(decided_s - start_s)} later.`;
  return `${mean} The score reached the threshold at the start, and may have been lower afterwards.`;
}
