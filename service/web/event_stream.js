/** The events of one session over a WebSocket: all past events, without duplicates, then live events. */

import { Problem, eventsSocketUrl } from "./api.js";

export const ENDED = new Set(["completed", "stopped", "failed"]);
const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 10_000;
const BATCH_MS = 40;
/** A page hidden for longer than this reconnects: its socket may be dead without having reported it. */
const STALE_MS = 15_000;

/** Compares event ids, `MEDIA_MS-SEQ`, as two numbers. */
export function compareIds(left, right) {
  const [leftMs, leftSeq] = left.split("-").map(Number);
  const [rightMs, rightSeq] = right.split("-").map(Number);
  return leftMs - rightMs || leftSeq - rightSeq;
}

export class EventStream {
  #id;
  #onEvents;
  #onConnection;
  #socket = null;
  #attempt = 0;
  #lastId = null;
  #failures = 0;
  #timer = null;
  #batch = [];
  #batchTimer = null;
  #hiddenAt = 0;
  #closed = new AbortController();

  /** `onEvents(events)`: in order. `onConnection(state, detail)`: connecting, live, lost, rejected, ended. */
  constructor(id, { onEvents, onConnection }) {
    this.#id = id;
    this.#onEvents = onEvents;
    this.#onConnection = onConnection;
    const signal = this.#closed.signal;
    window.addEventListener("online", () => this.#reconnect(), { signal });
    document.addEventListener("visibilitychange", () => this.#onVisibility(), { signal });
    this.#onConnection("connecting");
    this.#connect();
  }

  close() {
    this.#closed.abort();
    clearTimeout(this.#timer);
    clearTimeout(this.#batchTimer);
    this.#socket?.close();
  }

  async #connect() {
    const attempt = ++this.#attempt;
    let url;
    try {
      url = await eventsSocketUrl(this.#id, this.#lastId);
    } catch (error) {
      if (attempt === this.#attempt && !this.#closed.signal.aborted) this.#onRejected(error);
      return;
    }
    if (attempt === this.#attempt && !this.#closed.signal.aborted) this.#open(new WebSocket(url));
  }

  #open(socket) {
    this.#socket = socket;
    socket.onopen = () => {
      this.#failures = 0;
      this.#onConnection("live");
    };
    socket.onmessage = (message) => {
      if (socket === this.#socket) this.#receive(JSON.parse(message.data));
    };
    socket.onclose = () => {
      if (socket !== this.#socket) return;
      this.#flush();
      if (!this.#closed.signal.aborted) this.#retryLater();
    };
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
    if (events.length === 0 || this.#closed.signal.aborted) return;
    this.#onEvents(events);
    if (events.some((event) => event.type === "session.state" && ENDED.has(event.state))) {
      this.close();
      this.#onConnection("ended");
    }
  }

  /** Retries, unless the key lacks the required scope. */
  #onRejected(error) {
    if (error instanceof Problem && error.status === 403) this.#onConnection("rejected", error.message);
    else this.#retryLater();
  }

  #retryLater() {
    this.#onConnection("lost");
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** this.#failures, MAX_PAUSE_MS);
    this.#failures += 1;
    this.#timer = setTimeout(() => this.#connect(), pause * (0.75 + Math.random() / 2));
  }

  #reconnect() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.#connect();
  }

  #onVisibility() {
    if (document.hidden) this.#hiddenAt = Date.now();
    else if (Date.now() - this.#hiddenAt > STALE_MS) this.#reconnect();
  }
}
