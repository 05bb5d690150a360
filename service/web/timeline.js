/** The plot of one session: follows the newest scores smoothly, or shows the part that the reader chose. */

import { readTheme } from "./colours.js";
import { percent, clock } from "./format.js";
import { WINDOW_S, drawPlot, topPeaks } from "./plot.js";
import { ScoreRun } from "./scores.js";

const FRAME_MS = 33;
/** Part of the way to the newest scores that the plot moves in one drawn frame. */
const EASE = 0.15;
const SUMMARY_MS = 5000;
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");
const element = (id) => document.getElementById(id);

export class Timeline {
  #run;
  #log;
  #onError;
  #canvas = element("plot");
  #range = element("scrub-range");
  #follow = element("follow");
  #following = true;
  #to_s = WINDOW_S;
  #position_s = 0;
  #frame = null;
  #drawnAt = 0;
  #summaryAt = 0;
  #seeking = null;
  #closed = new AbortController();
  #resize = new ResizeObserver(() => this.draw());

  /** `onError(problem)` hears of a part of the scores that could not be fetched. */
  constructor({ id, labels }, log, onError) {
    this.#run = new ScoreRun(id, labels);
    this.#log = log;
    this.#onError = onError;
    const { signal } = this.#closed;
    this.#range.addEventListener("input", () => this.show(Number(this.#range.value)), { signal });
    this.#follow.addEventListener("click", () => this.#setFollowing(!this.#following), { signal });
    dark.addEventListener("change", () => this.draw(), { signal });
    this.#resize.observe(this.#canvas);
    this.#setFollowing(true);
  }

  close() {
    this.#closed.abort();
    this.#seeking?.abort();
    this.#resize.disconnect();
    cancelAnimationFrame(this.#frame);
  }

  /** Fetches what is new while following; `position_s` is how far the analysis is. */
  async update(position_s, signal) {
    this.#position_s = position_s;
    element("scrub").hidden = position_s <= WINDOW_S;
    this.#range.max = Math.max(WINDOW_S, position_s);
    this.#range.min = WINDOW_S;
    if (!this.#following) return;
    await this.#run.follow(position_s, signal);
    this.#range.value = position_s;
    this.#animate();
  }

  /** Shows the window that ends at `to_s`, in media time; stops following. */
  async show(to_s) {
    this.#setFollowing(false);
    this.#to_s = Math.max(WINDOW_S, Math.min(to_s, this.#position_s));
    this.#range.value = this.#to_s;
    this.#range.setAttribute("aria-valuetext", `up to ${clock(this.#to_s)}`);
    this.#seeking?.abort();
    this.#seeking = new AbortController();
    const { signal } = this.#seeking;
    if (!this.#run.covers(this.#to_s - WINDOW_S, this.#to_s)) {
      try {
        await this.#run.startAt(this.#to_s - WINDOW_S - 1, signal);
      } catch (error) {
        if (!signal.aborted) this.#onError(error);
        return;
      }
    }
    this.draw();
  }

  draw() {
    this.#drawnAt = performance.now();
    drawPlot(this.#canvas, {
      run: this.#run,
      actions: this.#log.actions,
      to_s: this.#to_s,
      theme: readTheme(this.#canvas),
    });
    this.#summarise();
  }

  #setFollowing(following) {
    this.#following = following;
    this.#follow.setAttribute("aria-pressed", String(following));
    if (following) this.#animate();
  }

  #animate() {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame((now) => this.#step(now));
  }

  #step(now) {
    if (!this.#following) return;
    if (now - this.#drawnAt < FRAME_MS) return this.#animate();
    const target_s = Math.max(WINDOW_S, this.#run.last_s ?? 0);
    const left_s = target_s - this.#to_s;
    const jump = calm.matches || Math.abs(left_s) < 0.02 || Math.abs(left_s) > WINDOW_S;
    this.#to_s = jump ? target_s : this.#to_s + left_s * EASE;
    this.draw();
    if (!jump) this.#animate();
  }

  /** In words, for those who cannot see the plot; seldom, because it changes all the time. */
  #summarise() {
    if (performance.now() - this.#summaryAt < SUMMARY_MS && this.#summaryAt > 0) return;
    const last = this.#run.rows.at(-1);
    if (!last) return;
    this.#summaryAt = performance.now();
    const top = topPeaks(this.#run, this.#to_s - WINDOW_S, this.#to_s);
    const parts = top.map(({ index, score }) => `${this.#run.labels[index]} ${percent(score)}`);
    const highest = parts.length > 0 ? parts.join(", ") : "nothing above the background";
    element("plot-summary").textContent = `of ${WINDOW_S} seconds up to ${clock(this.#to_s)}. Highest: ${highest}.`;
  }
}
