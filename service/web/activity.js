/** Of each session, the last action that started and those that are on. */

import { placeOf } from "./actions.js";
import { ENDED } from "./event_stream.js";

export class Activity {
  #last = new Map();
  #on = new Map();

  /** Takes the events of all sessions, those of each in their order. */
  add(event) {
    const { session_id: id } = event;
    if (event.type === "action.start") {
      this.#last.set(id, event);
      if (!this.#on.has(id)) this.#on.set(id, new Map());
      this.#on.get(id).set(placeOf(event), event);
    } else if (event.type === "action.end") {
      this.#on.get(id)?.delete(placeOf(event));
    } else if (event.type === "session.state" && ENDED.has(event.state)) {
      this.#on.delete(id);
    }
  }

  /** The event with which the last action of a session started, if that is known. */
  last(sessionId) {
    return this.#last.get(sessionId);
  }

  /** The events with which the actions started that are on in a session. */
  on(sessionId) {
    return [...(this.#on.get(sessionId)?.values() ?? [])];
  }
}
