/** Whether a person finds the actions of a session right: two buttons in each row, and the keys R and W. */

import { getFeedback, judgeEvent, withdrawVerdict } from "./api.js";
import { clock } from "./format.js";

const VERDICTS = { right: { sign: "✓", key: "r" }, wrong: { sign: "✗", key: "w" } };

export class Verdicts {
  #sessionId;
  #table;
  #onError;
  #given = new Map();
  #buttons = new Map();
  #closed = new AbortController();

  /** `table` is the body of the table whose rows have the buttons; `onError(problem)` is called when one fails. */
  constructor(sessionId, table, onError) {
    this.#sessionId = sessionId;
    this.#table = table;
    this.#onError = onError;
    table.addEventListener("keydown", (event) => this.#onKey(event), { signal: this.#closed.signal });
    this.#load();
  }

  close() {
    this.#closed.abort();
  }

  /** The two buttons of an action. The one that is pressed can be released again. */
  cell(action) {
    const cell = document.createElement("td");
    cell.className = "verdicts";
    const buttons = Object.entries(VERDICTS).map(([verdict, { sign, key }]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = sign;
      button.title = `${verdict} (${key.toUpperCase()})`;
      button.dataset.verdict = verdict;
      button.setAttribute("aria-label", `${verdict}: ${action.label} at ${clock(action.start_s)}`);
      button.addEventListener("click", () => this.#toggle(action.id, verdict));
      return button;
    });
    cell.append(...buttons);
    this.#buttons.set(action.id, buttons);
    this.#show(action.id);
    return cell;
  }

  async #load() {
    try {
      const { feedback } = await getFeedback(this.#sessionId, this.#closed.signal);
      for (const { id, verdict } of feedback) this.#given.set(id, verdict);
    } catch (error) {
      if (!this.#closed.signal.aborted) this.#onError(error);
      return;
    }
    for (const id of this.#buttons.keys()) this.#show(id);
  }

  #show(id) {
    for (const button of this.#buttons.get(id) ?? []) {
      button.setAttribute("aria-pressed", String(this.#given.get(id) === button.dataset.verdict));
    }
  }

  async #toggle(id, verdict) {
    const before = this.#given.get(id);
    const withdraws = before === verdict;
    this.#set(id, withdraws ? undefined : verdict);
    try {
      if (withdraws) await withdrawVerdict(this.#sessionId, id);
      else await judgeEvent(this.#sessionId, id, verdict);
    } catch (error) {
      this.#set(id, before);
      this.#onError(error);
    }
  }

  #set(id, verdict) {
    if (verdict === undefined) this.#given.delete(id);
    else this.#given.set(id, verdict);
    this.#show(id);
  }

  /** R and W judge the action whose row has the focus; the arrows move to the next row, and from its time play that. */
  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const row = event.target.closest("tr");
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const rows = [...this.#table.rows].filter((each) => each.querySelector("button"));
      const next = rows[rows.indexOf(row) + (event.key === "ArrowDown" ? 1 : -1)];
      if (next === undefined) return;
      const button = next.querySelector("button");
      button.focus();
      if (event.target.classList.contains("link")) button.click();
      event.preventDefault();
      return;
    }
    const chosen = Object.entries(VERDICTS).find(([, { key }]) => key === event.key.toLowerCase());
    if (chosen) row.querySelector(`[data-verdict="${chosen[0]}"]`)?.click();
  }
}
