/** The plot of one session: follows the newest scores, or shows the part that the user selected. */

import { readTheme } from "./colours.js";
import { percent, clock } from "./format.js";
import { WINDOW_S, drawPlot, timeAt, topPeaks } from "./plot.js";
import { ScoreRun } from "./scores.js";

const FRAME_MS = 33;
/** Fraction of the distance to the newest scores that the plot moves per drawn frame. */
const EASE = 0.15;
const SUMMARY_MS = 5000;
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");
const element = (id) => document.getElementById(id);

export class Timeline {
  #run;
  #region = null;
  #session;
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
  #nearMisses = [];
  #selection = null;
  #threshold = null;
  #closed = new AbortController();
  #resize = new ResizeObserver(() => this.draw());

  /** `onError(problem)` is called when scores could not be fetched. */
  constructor(session, log, onError) {
    this.#session = session;
    this.#log = log;
    this.#onError = onError;
    const { signal } = this.#closed;
    this.#range.addEventListener("input", () => this.show(Number(this.#range.value)), { signal });
    this.#follow.addEventListener("click", () => this.#setFollowing(!this.#following), { signal });
    dark.addEventListener("change", () => this.draw(), { signal });
    this.#resize.observe(this.#canvas);
    this.#offerRegions(session.regions, signal);
    this.#select(session.regions[0]?.name ?? null);
    this.#setFollowing(true);
  }

  close() {
    this.#closed.abort();
    this.#seeking?.abort();
    this.#resize.disconnect();
    cancelAnimationFrame(this.#frame);
  }

  /** Fetches new scores while following; `position_s` is the media time analysed so far. */
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

  /** Shows the window that ends at `to_s`, in media time, of a region, if there are any; stops following. */
  async show(to_s, region = this.#region) {
    this.#setFollowing(false);
    if (region !== this.#region) this.#select(region);
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

  /** Marks near misses, and the threshold `{ label, score }` of an action; null for none. */
  mark(nearMisses, threshold) {
    this.#nearMisses = nearMisses;
    this.#threshold = threshold;
    this.draw();
  }

  get region() {
    return this.#region;
  }

  /** Media time at a horizontal place in the plot, in pixels from its left edge. */
  timeAt(x_px) {
    return Math.min(timeAt(this.#canvas, x_px, this.#to_s), Math.max(0, this.#position_s));
  }

  /** Highlights a part of the media time; null for none. The plot stands still meanwhile. */
  select(from_s, to_s) {
    if (from_s !== null && this.#following) this.#setFollowing(false);
    this.#selection = from_s === null ? null : [Math.min(from_s, to_s), Math.max(from_s, to_s)];
    this.draw();
  }

  draw() {
    this.#drawnAt = performance.now();
    drawPlot(this.#canvas, {
      run: this.#run,
      actions: this.#log.actions.filter((action) => (action.region ?? null) === this.#region),
      nearMisses: this.#nearMisses.filter(({ region }) => region === this.#region),
      threshold: this.#threshold,
      selection: this.#selection,
      to_s: this.#to_s,
      theme: readTheme(this.#canvas),
    });
    this.#summarise();
  }

  #offerRegions(regions, signal) {
    const choice = element("plot-region");
    element("plot-regions").hidden = regions.length === 0;
    choice.replaceChildren(...regions.map(({ name }) => new Option(name, name)));
    choice.addEventListener("change", () => this.#onRegion(choice.value), { signal });
  }

  #onRegion(region) {
    this.#select(region);
    if (!this.#following) this.show(this.#to_s);
    else this.update(this.#position_s, this.#closed.signal).catch((error) => this.#reportUnlessClosed(error));
  }

  #reportUnlessClosed(error) {
    if (!this.#closed.signal.aborted) this.#onError(error);
  }

  #select(region) {
    this.#region = region;
    this.#run = new ScoreRun(this.#session.id, this.#session.labels, region);
    element("plot-region").value = region ?? "";
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

  /** A text summary for screen readers; updated rarely, because the scores change all the time. */
  #summarise() {
    if (performance.now() - this.#summaryAt < SUMMARY_MS && this.#summaryAt > 0) return;
    const last = this.#run.rows.at(-1);
    if (!last) return;
    this.#summaryAt = performance.now();
    const top = topPeaks(this.#run, this.#to_s - WINDOW_S, this.#to_s);
    const parts = top.map(({ index, score }) => `${this.#run.labels[index]} ${percent(score)}`);
    const highest = parts.length > 0 ? parts.join(", ") : "no action above the background";
    element("plot-summary").textContent = `of ${WINDOW_S} seconds up to ${clock(this.#to_s)}. Highest: ${highest}.`;
  }
}
