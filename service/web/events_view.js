/** The table of events with the latest action above it, and their announcements for screen readers. */

import { actionName } from "./action_names.js";
import { Announcer } from "./announcer.js";
import { hueOf } from "./colours.js";
import { clock, inRegion, percent, span, tenths, timeOf } from "./format.js";
import { nextByKey } from "./grid_keys.js";
import { LatestAction, scoreTitle } from "./latest_action.js";
import { judgeByKey } from "./verdicts.js";

const PAGE = 100;
const STATES = {
  running: "Running",
  reconnecting: "Source lost. Reconnecting",
  completed: "Completed",
  stopped: "Stopped",
  failed: "Failed",
};
const element = (id) => document.getElementById(id);

export class EventsView {
  #log;
  #labels;
  #onShow;
  #verdicts;
  #clock;
  #latest;
  #limit = PAGE;
  #rows = new Map();
  #announcer = new Announcer(element("announcer"));
  #closed = new AbortController();

  /**
   * `verdicts` are a Verdicts, `clock` is a SessionClock. `onShow(action)` is called when the user asks to see an action,
   * `isLive()` says whether the session still runs.
   */
  constructor(log, labels, { verdicts, clock, onShow, isLive }) {
    this.#log = log;
    this.#labels = labels;
    this.#verdicts = verdicts;
    this.#onShow = onShow;
    this.#clock = clock;
    this.#latest = new LatestAction(labels, verdicts, isLive);
    element("events").replaceChildren();
    const options = { signal: this.#closed.signal };
    element("events-more").addEventListener("click", () => this.#showMore(), options);
    element("events").addEventListener("keydown", (event) => this.#onKey(event), options);
    this.#renderRows();
  }

  close() {
    this.#closed.abort();
    this.#latest.close();
    this.#announcer.close();
  }

  /** `fresh` entries were added to the log; earlier actions may have ended. */
  update(fresh) {
    const started = fresh.filter((entry) => entry.kind === "action");
    this.#renderRows();
    if (started.length === 0) return;
    this.#latest.show(started.at(-1));
    this.#announcer.add(started.map(sentenceOf));
  }

  /** Call this when times read otherwise. */
  showTimes() {
    this.#renderRows();
  }

  #showMore() {
    this.#limit += PAGE;
    this.#renderRows();
  }

  /** Newest entries first. Rows are kept by event id, so that focus and selection do not move. */
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
      if (entry.kind === "action") row.querySelector(".duration").textContent = durationText(entry);
      else row.cells[0].textContent = this.#clock.textOf(entry);
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
    when.textContent = timeOf(action);
    when.title = `Play from ${clock(action.start_s)} of the video`;
    when.setAttribute("aria-label", `${when.textContent}, play`);
    when.addEventListener("click", () => this.#show(row, action));
    row.insertCell().append(when);
    const label = document.createElement("th");
    label.scope = "row";
    label.textContent = actionName(action.label);
    if (action.region) {
      const region = document.createElement("span");
      region.className = "region-name";
      region.textContent = inRegion(action);
      label.append(region);
    }
    row.append(label);
    const score = row.insertCell();
    score.textContent = percent(action.score);
    score.title = scoreTitle(action);
    row.insertCell().textContent = durationText(action);
    for (const cell of [...row.cells].slice(2)) cell.className = "number";
    row.lastChild.classList.add("duration");
    const verdicts = row.insertCell();
    verdicts.className = "verdicts";
    verdicts.append(...this.#verdicts.buttons(action));
  }

  /** Shows an action as if the user had asked for it; returns whether it is in the log. */
  show(id) {
    const place = this.#log.entries.findIndex((entry) => entry.id === id && entry.kind === "action");
    if (place < 0) return false;
    this.#limit = Math.max(this.#limit, this.#log.entries.length - place);
    this.#renderRows();
    this.#show(this.#rows.get(id), this.#log.entries[place]);
    return true;
  }

  /** R and W judge the action whose row has the focus; other keys move on or, on its time, play it. */
  #onKey(event) {
    const rows = [...element("events").rows].filter((row) => row.querySelector("button"));
    const next = nextByKey(event, rows);
    if (next === null) return judgeByKey(event, event.target.closest("tr"));
    const button = next.querySelector("button");
    button.focus();
    if (event.target.classList.contains("link")) button.click();
    event.preventDefault();
  }

  #show(row, action) {
    for (const other of this.#rows.values()) other.removeAttribute("aria-current");
    row.setAttribute("aria-current", "true");
    this.#onShow(action);
  }

  #fillNote(row, entry) {
    row.className = "note";
    row.insertCell();
    const text = row.insertCell();
    text.colSpan = 4;
    text.textContent = entry.kind === "gap" ? `Gap of ${span(entry.gap_s)}` : STATES[entry.state];
  }
}

function durationText({ start_s, end_s }) {
  return end_s === null ? "…" : tenths(end_s - start_s);
}

function sentenceOf(action) {
  return `${actionName(action.label)}${inRegion(action)} at ${timeOf(action)}, score ${percent(action.score)}`;
}
