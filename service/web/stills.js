/** Keeps the images of what can be seen up to date: few requests at a time, and none while the page is hidden. */

import { Problem } from "./api.js";
import { inLanes } from "./lanes.js";
import { poll } from "./poll.js";

/** As often as a worker makes snapshots that nobody watches. */
export const STILL_MS = 5000;
const CHECK_MS = 1000;
const RETRY_MS = 5000;
/** Images just outside the window are fetched, so that they are there when the user scrolls. */
const MARGIN = "200px";

export class Stills {
  #items = new Map();
  #observer;
  #poll;

  constructor() {
    this.#observer = new IntersectionObserver((changes) => this.#onMoved(changes), { rootMargin: MARGIN });
    this.#poll = poll((signal) => this.#fetchDue(signal), CHECK_MS);
  }

  /**
   * While `element` can be seen, `fetchImage(signal)` is called and resolves to the time in ms after which it is
   * called again, Infinity for never.
   */
  add(element, fetchImage) {
    this.#items.set(element, { fetchImage, isSeen: false, due_ms: 0 });
    this.#observer.observe(element);
  }

  remove(element) {
    this.#items.delete(element);
    this.#observer.unobserve(element);
  }

  /** Fetches the image of an element as soon as possible, if it can be seen. */
  hurry(element) {
    this.#items.get(element).due_ms = 0;
    this.#poll.wake();
  }

  close() {
    this.#poll.stop();
    this.#observer.disconnect();
  }

  #onMoved(changes) {
    for (const { target, isIntersecting } of changes) {
      const item = this.#items.get(target);
      if (item) item.isSeen = isIntersecting;
    }
    this.#poll.wake();
  }

  async #fetchDue(signal) {
    const now_ms = performance.now();
    const due = [...this.#items.values()].filter(({ isSeen, due_ms }) => isSeen && due_ms <= now_ms);
    due.sort((one, other) => one.due_ms - other.due_ms);
    await inLanes(due, (item) => fetchInto(item, signal));
  }
}

async function fetchInto(item, signal) {
  try {
    const again_ms = await item.fetchImage(signal);
    item.due_ms = performance.now() + again_ms;
  } catch (error) {
    const concernsImage = error instanceof Problem && error.status >= 400 && error.status < 429;
    item.due_ms = concernsImage ? Infinity : performance.now() + RETRY_MS;
    if (!concernsImage) throw error;
  }
}
