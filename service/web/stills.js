/** Keeps visible images up to date: with few concurrent requests, and none while the page is hidden. */

import { Problem } from "./api.js";
import { poll } from "./poll.js";

/** As often as a worker makes snapshots that are not watched. */
export const STILL_MS = 5000;
const CHECK_MS = 1000;
const MAX_AT_ONCE = 3;
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
    this.#items.set(element, { element, fetchImage, isSeen: false, isBusy: false, isHurried: false, due_ms: 0 });
    this.#observer.observe(element);
  }

  remove(element) {
    this.#items.delete(element);
    this.#observer.unobserve(element);
  }

  /** Fetches the image of an element as soon as possible, if it can be seen. */
  hurry(element) {
    Object.assign(this.#items.get(element), { isHurried: true, due_ms: 0 });
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
    const lane = async () => {
      for (let item = this.#nextDue(); item; item = this.#nextDue()) await fetchInto(item, signal);
    };
    const ended = await Promise.allSettled(Array.from({ length: MAX_AT_ONCE }, lane));
    const failed = ended.find(({ status }) => status === "rejected");
    if (failed) throw failed.reason;
  }

  /** The image that has waited longest or, among new ones, the first on the page; chosen again each time. */
  #nextDue() {
    if (document.hidden) return undefined;
    const now_ms = performance.now();
    const due = [...this.#items.values()].filter((item) => item.isSeen && !item.isBusy && item.due_ms <= now_ms);
    return due.sort((one, other) => one.due_ms - other.due_ms || inOrder(one.element, other.element))[0];
  }
}

function inOrder(one, other) {
  return one.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1;
}

async function fetchInto(item, signal) {
  Object.assign(item, { isBusy: true, isHurried: false });
  try {
    const again_ms = await item.fetchImage(signal);
    item.due_ms = performance.now() + Math.max(CHECK_MS, again_ms);
  } catch (error) {
    const concernsImage = error instanceof Problem && error.status >= 400 && error.status < 429;
    item.due_ms = concernsImage ? Infinity : performance.now() + RETRY_MS;
    if (!concernsImage) throw error;
  } finally {
    item.isBusy = false;
    // The image that was being fetched may have been too old.
    if (item.isHurried) item.due_ms = 0;
  }
}
