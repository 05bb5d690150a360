/** The events of all sessions as they are committed: one WebSocket for the whole page. */

import { listEvents, logSocketUrl } from "./api.js";
import { LastingSocket } from "./lasting_socket.js";

const TYPES = ["action.start", "action.end", "event.media", "session.state"];

export class LogFeed {
  #begun = null;
  #cursor = null;
  #listeners = new Set();

  constructor() {
    new LastingSocket(() => this.#urlNow(), { onMessage: (entry) => this.#receive(entry) });
  }

  /** Calls `onEntry({ cursor, event })` for each event that is committed from now on, until `signal` aborts. */
  listen(onEntry, signal) {
    this.#listeners.add(onEntry);
    signal?.addEventListener("abort", () => this.#listeners.delete(onEntry));
  }

  /**
   * Calls `onPage(page)` with the newest events of a query, then `onEntry(entry)` with each entry that is committed
   * later, for any query: none is missing in between, and none comes twice. Throws a Problem.
   */
  async follow(query, { onPage, onEntry }, signal) {
    // The socket continues where the page ends, or before.
    await this.#begin();
    const waiting = [];
    let end = null;
    const receive = (entry) => {
      if (end === null) waiting.push(entry);
      else if (BigInt(entry.cursor) > end) onEntry(entry);
    };
    const listening = new AbortController();
    this.listen(receive, AbortSignal.any([signal, listening.signal]));
    try {
      const page = await listEvents(query, signal);
      end = BigInt(page.end);
      onPage(page);
      waiting.forEach(receive);
    } catch (error) {
      listening.abort();
      throw error;
    }
  }

  #receive(entry) {
    this.#cursor = entry.cursor;
    for (const listener of this.#listeners) listener(entry);
  }

  async #urlNow() {
    await this.#begin();
    return logSocketUrl({ type: TYPES, after: this.#cursor });
  }

  #begin() {
    this.#begun ??= listEvents({ limit: 1 }).then(
      ({ end }) => (this.#cursor = end),
      (error) => {
        this.#begun = null;
        throw error;
      },
    );
    return this.#begun;
  }
}
