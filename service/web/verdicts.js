/** Whether a person finds actions right: two buttons for each, and the keys R and W. */

import { actionName } from "./action_names.js";
import { Problem, getFeedback, judgeEvent, withdrawVerdict } from "./api.js";
import { timeOf } from "./format.js";

const VERDICTS = { right: { sign: "✓", key: "r", word: "Right" }, wrong: { sign: "✗", key: "w", word: "Wrong" } };

/** R and W press the buttons of the row that has the focus. */
export function judgeByKey(event, row) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const chosen = Object.entries(VERDICTS).find(([, { key }]) => key === event.key.toLowerCase());
  if (chosen) row.querySelector(`[data-verdict="${chosen[0]}"]`)?.click();
}

/** The verdicts on actions of any sessions; an action is an event, or an entry of an ActionLog. */
export class Verdicts {
  #onError;
  #given = new Map();
  #buttons = new Map();
  #loaded = new Map();
  /** Other views, in other tabs. */
  #others = new BroadcastChannel("verdicts");
  #closed = new AbortController();

  /** `onError(problem)` is called when a verdict cannot be read or kept. */
  constructor(onError) {
    this.#onError = onError;
    this.#others.onmessage = ({ data: { key, verdict } }) => this.#set(key, verdict);
  }

  close() {
    this.#closed.abort();
    this.#others.close();
  }

  /** Resolves when the verdicts of a session are known, or cannot be read. */
  load(sessionId) {
    if (!this.#loaded.has(sessionId)) this.#loaded.set(sessionId, this.#read(sessionId));
    return this.#loaded.get(sessionId);
  }

  /** "right", "wrong" or undefined. */
  given(action) {
    return this.#given.get(keyOf(action.session_id, action.id));
  }

  /** The two buttons of an action in a separate row. A pressed button can be released again. */
  buttons(action) {
    return this.#pair(action, (button, verdict, { sign, key }) => {
      button.textContent = sign;
      button.title = `${verdict} (${key.toUpperCase()})`;
      button.setAttribute("aria-label", `${verdict}: ${actionName(action.label)} at ${timeOf(action)}`);
    });
  }

  /** The two buttons of an action that is shown by itself, with words. */
  wordedButtons(action) {
    return this.#pair(action, (button, _, { sign, word }) => (button.textContent = `${sign} ${word}`));
  }

  #pair(action, write) {
    const buttons = Object.entries(VERDICTS).map(([verdict, looks]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.verdict = verdict;
      write(button, verdict, looks);
      button.addEventListener("click", () => this.#toggle(action, verdict));
      return button;
    });
    const key = keyOf(action.session_id, action.id);
    this.#buttons.set(key, [...(this.#buttons.get(key) ?? []), ...buttons]);
    this.#show(key);
    this.load(action.session_id);
    return buttons;
  }

  async #read(sessionId) {
    const { signal } = this.#closed;
    try {
      const { feedback } = await getFeedback(sessionId, signal);
      for (const { id, verdict } of feedback) {
        this.#given.set(keyOf(sessionId, id), verdict);
        this.#show(keyOf(sessionId, id));
      }
    } catch (error) {
      // It may have been deleted.
      const isGone = error instanceof Problem && error.status === 404;
      if (!signal.aborted && !isGone) this.#onError(error);
    }
  }

  #show(key) {
    for (const button of this.#buttons.get(key) ?? []) {
      button.setAttribute("aria-pressed", String(this.#given.get(key) === button.dataset.verdict));
    }
  }

  async #toggle({ session_id: sessionId, id }, verdict) {
    const key = keyOf(sessionId, id);
    const before = this.#given.get(key);
    const withdraws = before === verdict;
    this.#set(key, withdraws ? undefined : verdict);
    try {
      if (withdraws) await withdrawVerdict(sessionId, id);
      else await judgeEvent(sessionId, id, verdict);
      this.#tellOthers(key);
    } catch (error) {
      this.#set(key, before);
      this.#onError(error);
    }
  }

  #tellOthers(key) {
    if (!this.#closed.signal.aborted) this.#others.postMessage({ key, verdict: this.#given.get(key) });
  }

  #set(key, verdict) {
    if (verdict === undefined) this.#given.delete(key);
    else this.#given.set(key, verdict);
    this.#show(key);
  }
}

const keyOf = (sessionId, id) => `${sessionId} ${id}`;
