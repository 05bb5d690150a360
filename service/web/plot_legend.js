/** Below the plot: the names of the actions in its visible part, as narrow bands have no room for them. */

import { actionName } from "./action_names.js";
import { hueOf } from "./colours.js";

const element = (id) => document.getElementById(id);

export class PlotLegend {
  #labels;
  #onSelect;
  #list = element("plot-legend");
  #items = new Map();
  #shown = new Map();
  #last = null;

  /** `labels` are those of the session. `onSelect(id)` is called when the user asks to see an action. */
  constructor(labels, onSelect) {
    this.#labels = labels;
    this.#onSelect = onSelect;
  }

  close() {
    this.#list.replaceChildren();
  }

  /** Takes the actions in the visible part. */
  show(actions) {
    this.#shown = Map.groupBy(actions, ({ label }) => label);
    for (const [label, item] of this.#items) {
      if (this.#shown.has(label)) continue;
      item.remove();
      this.#items.delete(label);
    }
    // In the order of the session's labels; items stay in the page, so that they keep the focus.
    const labels = this.#labels.filter((label) => this.#shown.has(label));
    labels.forEach((label, place) => {
      if (!this.#items.has(label)) this.#items.set(label, this.#newItem(label));
      const item = this.#items.get(label);
      if (this.#list.children[place] !== item) this.#list.insertBefore(item, this.#list.children[place] ?? null);
      const text = `${actionName(label)} × ${this.#shown.get(label).length}`;
      if (item.firstChild.textContent !== text) item.firstChild.textContent = text;
    });
  }

  #newItem(label) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "link";
    button.title = `Show each ${actionName(label)} in turn`;
    button.addEventListener("click", () => this.#showNext(label));
    const item = document.createElement("li");
    item.style.setProperty("--hue", hueOf(label, this.#labels));
    item.append(button);
    return item;
  }

  #showNext(label) {
    const actions = this.#shown.get(label) ?? [];
    const after = actions.findIndex(({ id }) => id === this.#last) + 1;
    const next = actions[after % actions.length];
    if (!next) return;
    this.#last = next.id;
    this.#onSelect(next.id);
  }
}
