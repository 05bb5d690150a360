/** Times in a session for people: of live sources by the clock on the wall, else in the video. */

import { clock, wallClock } from "./format.js";

export class SessionClock {
  #zero_ms = null;

  /** Sets the Unix time in ms of media time 0, or null for times in the video. Returns whether times now read otherwise. */
  setZero(zero_ms) {
    const before_ms = this.#zero_ms;
    this.#zero_ms = zero_ms;
    return zero_ms !== before_ms;
  }

  /** Unix time in ms of media time 0; null for times in the video. */
  get zero_ms() {
    return this.#zero_ms;
  }

  /** A media time, to a second or less. */
  text(at_s) {
    return this.#zero_ms === null ? clock(at_s) : wallClock(this.#zero_ms + at_s * 1000);
  }

  /** The time of day of a media time, as in events (ISO 8601); null for times in the video. */
  timeAt(at_s) {
    return this.#zero_ms === null ? null : new Date(this.#zero_ms + at_s * 1000).toISOString();
  }

  /** When an event was decided, which concerns no action. */
  textOf({ decided_s, time }) {
    return this.#zero_ms === null ? clock(decided_s) : wallClock(Date.parse(time));
  }
}
