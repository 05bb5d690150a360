/** The latest action at a glance, the table of events, and what a screen reader says about them. */

import { hueOf } from "./colours.js";
import { clock, percent, span, tenths } from "./format.js";

const PAGE = 100;
const ANNOUNCE_MS = 4000;
const STATES = {
  running: "Watching",
  reconnecting: "Source lost, reconnecting",
  completed: "Completed",
  stopped: "Stopped",
  failed: "Failed",
};
const element = (id) => document.getElementById(id);

export class EventsView {
  #log;
  #labels;
  #onShow;
  #limit = PAGE;
  #rows = new Map();
  #announceTimer = null;
  #unsaid = [];
  #closed = new AbortController();

  /** `onShow(entry)` is called when the reader asks to see an entry in the plot. */
  constructor(log, labels, onShow) {
    this.#log = log;
    this.#labels = labels;
    this.#onShow = onShow;
    element("events").replaceChildren();
    element("announcer").textContent = "";
    element("events-more").addEventListener("click", () => this.#showMore(), { signal: this.#closed.signal });
    this.#renderLatest(null);
    this.#renderRows();
  }

  close() {
    this.#closed.abort();
    clearTimeout(this.#announceTimer);
  }

  /** `fresh` entries have been added to the log; others of it may have ended. */
  update(fresh) {
    const started = fresh.filter((entry) => entry.kind === "action");
    this.#renderRows();
    if (started.length === 0) return;
    this.#renderLatest(started.at(-1));
    this.#unsaid.push(...started);
    this.#announceTimer ??= setTimeout(() => this.#announce(), ANNOUNCE_MS / 8);
  }

  #announce() {
    const last = this.#unsaid.at(-1);
    const others = this.#unsaid.length - 1;
    this.#unsaid = [];
    this.#announceTimer = setTimeout(() => {
      this.#announceTimer = null;
      if (this.#unsaid.length > 0) this.#announce();
    }, ANNOUNCE_MS);
    const more = others > 0 ? `, and ${others} more before it` : "";
    element("announcer").textContent = `${last.label} at ${clock(last.start_s)}, ${percent(last.score)} sure${more}`;
  }

  #renderLatest(action) {
    const card = element("latest");
    element("latest-facts").hidden = action === null;
    element("latest-label").textContent = action?.label ?? "None yet";
    card.classList.toggle("empty", action === null);
    if (action === null) return;
    card.style.setProperty("--hue", hueOf(action.label, this.#labels));
    element("latest-when").textContent = clock(action.start_s);
    element("latest-score").textContent = percent(action.score);
    element("latest-delay").textContent = tenths(action.decided_s - action.start_s);
    element("latest-latency").textContent = span(action.latency_s.total);
    card.classList.remove("fresh");
    requestAnimationFrame(() => card.classList.add("fresh"));
  }

  #showMore() {
    this.#limit += PAGE;
    this.#renderRows();
  }

  /** The newest entries first. Rows are kept by event id, so that focus and selection stay where they are. */
  #renderRows() {
    const shown = this.#log.entries.filter((entry) => entry.kind !== "state" || entry.state in STATES);
    const newest = shown.slice(-this.#limit).toReversed();
    const wanted = new Set(newest.map((entry) => entry.id));
    for (const [id, row] of this.#rows) {
      if (wanted.has(id)) continue;
      row.remove();
      this.#rows.delete(id);
    }
    const body = element("events");
    newest.forEach((entry, place) => {
      if (!this.#rows.has(entry.id)) this.#rows.set(entry.id, this.#row(entry));
      const row = this.#rows.get(entry.id);
      if (body.children[place] !== row) body.insertBefore(row, body.children[place] ?? null);
      if (entry.kind === "action") row.lastChild.textContent = lasted(entry);
    });
    element("events-none").hidden = newest.length > 0;
    element("events-more").hidden = shown.length <= newest.length;
  }

  #row(entry) {
    const row = document.createElement("tr");
    if (entry.kind === "action") this.#fillAction(row, entry);
    else this.#fillNote(row, entry);
    return row;
  }

  #fillAction(row, action) {
    row.style.setProperty("--hue", hueOf(action.label, this.#labels));
    const when = document.createElement("button");
    when.type = "button";
    when.className = "link";
    when.textContent = clock(action.start_s);
    when.setAttribute("aria-label", `${when.textContent}, show in the plot`);
    when.addEventListener("click", () => this.#onShow(action));
    row.insertCell().append(when);
    const label = document.createElement("th");
    label.scope = "row";
    label.textContent = action.label;
    row.append(label);
    row.insertCell().textContent = percent(action.score);
    row.insertCell().textContent = tenths(action.decided_s - action.start_s);
    row.insertCell().textContent = lasted(action);
    for (const cell of [...row.cells].slice(2)) cell.className = "number";
  }

  #fillNote(row, entry) {
    row.className = "note";
    row.insertCell().textContent = clock(entry.decided_s);
    const text = row.insertCell();
    text.colSpan = 4;
    text.textContent = entry.kind === "gap" ? `Gap of ${span(entry.gap_s)} in the stream` : STATES[entry.state];
  }
}

function lasted({ start_s, end_s }) {
  return end_s === null ? "…" : tenths(end_s - start_s);
}
