/** A WebSocket that is opened again whenever it breaks, until it is closed. */

import { Problem } from "./api.js";

const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 10_000;
/** A page hidden for longer than this reconnects: its socket may be dead without having reported it. */
const STALE_MS = 15_000;

export class LastingSocket {
  #urlNow;
  #onMessage;
  #onBinary;
  #onConnection;
  #socket = null;
  #attempt = 0;
  #failures = 0;
  #timer = null;
  #hiddenAt = 0;
  #closed = new AbortController();

  /**
   * `urlNow()` resolves to the URL of the next connection, which continues behind the last message.
   * `onMessage(content)`: parsed JSON; `onBinary(buffer)`: of a binary message. `onConnection(state, detail)`:
   * connecting, live, lost, rejected.
   */
  constructor(urlNow, { onMessage, onBinary = () => {}, onConnection = () => {} }) {
    this.#urlNow = urlNow;
    this.#onMessage = onMessage;
    this.#onBinary = onBinary;
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
    this.#socket?.close();
  }

  async #connect() {
    const attempt = ++this.#attempt;
    const isCurrent = () => attempt === this.#attempt && !this.#closed.signal.aborted;
    let url;
    try {
      url = await this.#urlNow();
    } catch (error) {
      if (isCurrent()) this.#onRejected(error);
      return;
    }
    if (isCurrent()) this.#open(new WebSocket(url));
  }

  #open(socket) {
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#failures = 0;
      this.#onConnection("live");
    };
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket || this.#closed.signal.aborted) return;
      if (typeof data === "string") this.#onMessage(JSON.parse(data));
      else this.#onBinary(data);
    };
    socket.onclose = () => {
      if (socket === this.#socket && !this.#closed.signal.aborted) this.#retryLater();
    };
  }

  /** Retries, unless the key lacks the required scope. */
  #onRejected(error) {
    if (error instanceof Problem && error.status === 403) this.#onConnection("rejected", error.message);
    else this.#retryLater();
  }

  #retryLater() {
    this.#onConnection("lost");
    // The owner may have closed it because of a received message.
    if (this.#closed.signal.aborted) return;
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
