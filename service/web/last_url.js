/**
 * The URL that was submitted last: after a typing mistake it need not be typed again. It may contain a password, so it
 * is kept only until its source was opened or could not be.
 */

import { ENDED } from "./event_stream.js";

/** A session that has waited longer for a worker is corrected by hand. */
const KEPT_MS = 300_000;

export class LastUrl {
  #kept = null;
  #timer = null;

  /** Keeps what was typed for a session that was just created. */
  keep(session, typed) {
    this.forget();
    this.#kept = { id: session.id, typed };
    this.#timer = setTimeout(() => this.forget(), KEPT_MS);
  }

  forget() {
    clearTimeout(this.#timer);
    this.#kept = null;
  }

  /** `{ session, typed }` if the session is among these and its source could not be opened, once; else null. */
  takeFailed(sessions) {
    const session = sessions.find(({ id }) => id === this.#kept?.id);
    if (!session) return null;
    const { typed } = this.#kept;
    if (session.frames > 0 || ENDED.has(session.state)) this.forget();
    return session.state === "failed" && session.frames === 0 ? { session, typed } : null;
  }
}
