/** The events of one session over a WebSocket: all past events, without duplicates, then live events. */

import { eventsSocketUrl } from "./api.js";
import { LastingSocket } from "./lasting_socket.js";

export const ENDED = new Set(["completed", "stopped", "failed"]);
const BATCH_MS = 40;

/** Compares event ids, `MEDIA_MS-SEQ`, as two numbers. */
export function compareIds(left, right) {
  const [leftMs, leftSeq] = left.split("-").map(Number);
  const [rightMs, rightSeq] = right.split("-").map(Number);
  return leftMs - rightMs || leftSeq - rightSeq;
}

export class EventStream {
  #onEvents;
  #onConnection;
  #socket;
  #lastId = null;
  #batch = [];
  #batchTimer = null;
  #closed = false;

  /** `onEvents(events)`: in order. `onConnection(state, detail)`: connecting, live, lost, rejected, ended. */
  constructor(id, { onEvents, onConnection }) {
    this.#onEvents = onEvents;
    this.#onConnection = onConnection;
    this.#socket = new LastingSocket(() => eventsSocketUrl(id, this.#lastId), {
      onMessage: (event) => this.#receive(event),
      onConnection: (state, detail) => {
        // The last event says that the session has ended; the server closes the connection behind it.
        this.#flush();
        if (!this.#closed) onConnection(state, detail);
      },
    });
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#batchTimer);
    this.#socket.close();
  }

  #receive(event) {
    if (this.#lastId !== null && compareIds(event.id, this.#lastId) <= 0) return;
    this.#lastId = event.id;
    this.#batch.push(event);
    this.#batchTimer ??= setTimeout(() => this.#flush(), BATCH_MS);
  }

  #flush() {
    clearTimeout(this.#batchTimer);
    this.#batchTimer = null;
    const events = this.#batch;
    this.#batch = [];
    if (events.length === 0 || this.#closed) return;
    this.#onEvents(events);
    if (events.some((event) => event.type === "session.state" && ENDED.has(event.state))) {
      this.close();
      this.#onConnection("ended");
    }
  }
}
