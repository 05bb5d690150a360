/** Announces news to screen readers every few seconds: the newest sentence, and how many came before it. */

const FIRST_MS = 500;
const EVERY_MS = 4000;

export class Announcer {
  #element;
  #timer = null;
  #waiting = [];

  /** `element` is a live region. */
  constructor(element) {
    this.#element = element;
    element.textContent = "";
  }

  close() {
    clearTimeout(this.#timer);
  }

  add(sentences) {
    this.#waiting.push(...sentences);
    if (this.#waiting.length > 0) this.#timer ??= setTimeout(() => this.#announce(), FIRST_MS);
  }

  #announce() {
    const last = this.#waiting.at(-1);
    const others = this.#waiting.length - 1;
    this.#waiting = [];
    this.#timer = setTimeout(() => {
      this.#timer = null;
      if (this.#waiting.length > 0) this.#announce();
    }, EVERY_MS);
    this.#element.textContent = others > 0 ? `${last}, and ${others} earlier` : last;
  }
}
