/** The plot of one session: follows the newest scores, or shows the part that the user selected. */

import { LiveScores } from "./live_scores.js";
import { Overview } from "./overview.js";
import { ScorePlot } from "./plot.js";
import { PlotWindow } from "./plot_window.js";
import { ScoreRun } from "./scores.js";
import { TimelineMarks } from "./timeline_marks.js";
import { offerZoom } from "./zoom.js";

/** Sessions up to this length need no strip of the whole session. */
const SHORT_S = 30;
const FRAME_MS = 33;
/** Share of the plot left of the play-head on a new page. */
const LEFT_OF_HEAD = 0.1;
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");
const element = (id) => document.getElementById(id);

export class Timeline {
  #run;
  #region = null;
  #session;
  #clock;
  #onError;
  #onSeek;
  #plot;
  #range = element("scrub-range");
  #follow = element("follow");
  /** Whether the user wants to see the newest scores. */
  #follows = true;
  #window;
  #overview;
  #position_s;
  #frame = null;
  #drawnAt = 0;
  #seeking = null;
  #marks;
  #live = new LiveScores();
  #isFed = false;
  #closed = new AbortController();

  /**
   * `clock` is a SessionClock. `onError(problem)` is called when scores could not be fetched, `onSeek(at_s)` when the user
   * clicks on the plot, `onSelect(at_s, region)` when they select a near miss, `onAction(id)` when they select
   * an action.
   */
  constructor(session, log, clock, { onError, onSeek, onSelect, onAction }) {
    this.#session = session;
    this.#position_s = session.position_s;
    this.#window = new PlotWindow(session.position_s);
    this.#clock = clock;
    this.#marks = new TimelineMarks(session, log, clock, { onSelect, onAction });
    this.#onError = onError;
    this.#onSeek = onSeek;
    const { signal } = this.#closed;
    const onRead = (sentence) => (element("plot-reading").textContent = sentence);
    this.#plot = new ScorePlot(element("plot"), session.labels, clock, onRead);
    this.#range.addEventListener("input", () => this.show(Number(this.#range.value)), { signal });
    this.#overview = new Overview(session, {
      onError,
      onSelect: (from_s, to_s) => this.#zoom(from_s, to_s),
    });
    offerZoom(this.#plot, (factor, at_s) => this.#zoomBy(factor, at_s), signal);
    this.#follow.addEventListener("click", () => this.#setFollowing(!this.#follows), { signal });
    dark.addEventListener("change", () => this.draw(), { signal });
    this.#offerRegions(session.regions, signal);
    this.#select(session.regions[0]?.name ?? null);
    this.#setFollowing(true);
  }

  close() {
    this.#closed.abort();
    this.#seeking?.abort();
    this.#overview.close();
    this.#plot.close();
    this.#marks.close();
    cancelAnimationFrame(this.#frame);
  }

  /** Fetches new scores while following; `position_s` is the media time analysed so far. */
  async update(position_s, signal) {
    this.#position_s = position_s;
    element("scrub").hidden = position_s <= SHORT_S;
    this.#showZoom();
    await this.#overview.update(position_s, this.#region, signal);
    if (!this.#isFollowing) return;
    await this.#run.follow(position_s, signal);
    this.#isFed = this.#live.feed(this.#run, this.#region);
    this.#range.value = position_s;
    this.#animate();
  }

  /** Whether live scores come and suffice, so that few need to be fetched. */
  get isFed() {
    return this.#isFed;
  }

  /** Takes a message with live scores, or null when no more come. */
  takeScores(message) {
    this.#isFed &&= message !== null;
    if (message === null) return;
    this.#live.add(message);
    this.#position_s = message.pts_s.at(-1);
    if (!this.#isFollowing) return;
    this.#isFed = this.#live.feed(this.#run, this.#region);
    if (this.#isFed) this.#animate();
  }

  /** Shows the window that ends at `to_s`, in media time, of a region, if there are any; stops following. */
  async show(to_s, region = this.#region) {
    this.#setFollowing(false);
    if (region !== this.#region) this.#select(region);
    this.#window.endAt(to_s, this.#position_s);
    this.#range.value = this.#window.to_s;
    this.#range.setAttribute("aria-valuetext", `up to ${this.#clock.text(this.#window.to_s)}`);
    this.#seeking?.abort();
    this.#seeking = new AbortController();
    const { signal } = this.#seeking;
    const { from_s, to_s: until_s } = this.#window;
    if (!this.#run.covers(from_s, until_s)) {
      try {
        await this.#run.startAt(from_s - this.#run.gap_s, signal);
      } catch (error) {
        if (!signal.aborted) this.#onError(error);
        return;
      }
    }
    this.draw();
  }

  /** Marks actions that people report as missed: feedback with `label`, `start_s`, `end_s` and `region`. */
  markMissed(missed) {
    this.#marks.missed = missed;
    this.draw();
  }

  /** Marks near misses, and the threshold `{ label, score }` of an action; null for none. They are those of `rules`. */
  mark(nearMisses, threshold, rules) {
    Object.assign(this.#marks, { nearMisses, threshold, rules });
    this.draw();
  }

  /** Shows a media time in the middle. */
  async showAround(at_s, region) {
    await this.show(at_s + this.#window.length_s / 2, region);
  }

  /** Shows an action in the middle, highlighted. */
  async showAction(action) {
    this.#marks.current = action.id;
    await this.showAround(action.start_s, action.region ?? null);
  }

  /**
   * Marks the media time that the video shows; null for none. The plot turns the page for it, unless it follows the
   * newest scores and the user did not choose to play.
   */
  showHead(at_s, isChosen) {
    this.#markHead(at_s);
    if (at_s !== null && isChosen) this.#setFollowing(false);
    const isShown = at_s === null || this.#isFollowing || this.#window.includes(at_s);
    if (!isShown) this.show(at_s + this.#window.length_s * (1 - LEFT_OF_HEAD));
  }

  /** Marks the media time that live video shows; null for none. */
  showLiveHead(at_s) {
    this.#markHead(at_s);
    if (this.#isFollowing) this.#animate();
  }

  #markHead(at_s) {
    this.#plot.showHead(at_s);
    this.#overview.showHead(at_s);
  }

  /** The user clicked on the plot at this media time. */
  seek(at_s) {
    this.#onSeek(at_s);
  }

  get region() {
    return this.#region;
  }

  /** The element over the plot that receives the pointer. */
  get over() {
    return this.#plot.over;
  }

  /** Media time at a horizontal place in the plot, in pixels from the left edge of `over`. */
  timeAt(x_px) {
    return Math.min(this.#plot.timeAt(x_px), Math.max(0, this.#position_s));
  }

  /** Highlights a part of the media time; null for none. The plot stands still meanwhile. */
  select(from_s, to_s) {
    if (from_s !== null && this.#follows) this.show(this.#window.to_s);
    this.#marks.selection = from_s === null ? null : [Math.min(from_s, to_s), Math.max(from_s, to_s)];
    this.draw();
  }

  draw() {
    this.#drawnAt = performance.now();
    const { from_s, to_s } = this.#window;
    const marks = this.#marks.show(this.#region, { from_s, to_s, position_s: this.#position_s });
    this.#plot.draw({ run: this.#run, ...marks, from_s, to_s });
    this.#overview.mark({ actions: marks.actions, missed: marks.missed, from_s, to_s });
  }

  #offerRegions(regions, signal) {
    const choice = element("plot-region");
    element("plot-regions").hidden = regions.length === 0;
    choice.replaceChildren(...regions.map(({ name }) => new Option(name, name)));
    choice.addEventListener("change", () => this.#onRegion(choice.value), { signal });
  }

  #onRegion(region) {
    this.#select(region);
    if (!this.#isFollowing) this.show(this.#window.to_s);
    this.update(this.#position_s, this.#closed.signal).catch((error) => this.#reportUnlessClosed(error));
  }

  #reportUnlessClosed(error) {
    if (!this.#closed.signal.aborted) this.#onError(error);
  }

  #select(region) {
    this.#region = region;
    this.#startRun();
    element("plot-region").value = region ?? "";
  }

  #startRun() {
    const { bin_s, length_s } = this.#window;
    this.#run = new ScoreRun(this.#session.id, this.#session.labels, this.#region, { bin_s, keep_s: length_s * 1.2 });
  }

  /** While the plot has room for all scores, the newest ones are shown whatever the user has chosen. */
  get #isFollowing() {
    return this.#follows || this.#window.holds(this.#position_s);
  }

  /** `at_s` stays where it is; null for the middle. */
  #zoomBy(factor, at_s) {
    const { from_s, to_s } = this.#window;
    this.#window.scale(factor, at_s ?? (from_s + to_s) / 2, this.#position_s);
    this.#showZoomed();
  }

  /** Shows a part of the media time; stops following. */
  #zoom(from_s, to_s) {
    this.#window.select(from_s, to_s, this.#position_s);
    return this.#showZoomed();
  }

  #showZoomed() {
    this.#startRun();
    this.#showZoom();
    return this.show(this.#window.to_s);
  }

  #showZoom() {
    const zooms = this.#window.zooms(this.#position_s);
    this.#range.max = Math.max(this.#window.length_s, this.#position_s);
    this.#range.min = this.#window.length_s;
    element("zoom-in").disabled = !zooms.in;
    element("zoom-out").disabled = !zooms.out;
  }

  #setFollowing(following) {
    this.#follows = following;
    this.#follow.textContent = following ? "Pause plot" : "Go to newest";
    if (following) this.#animate();
  }

  #animate() {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame((now) => this.#step(now));
  }

  #step(now) {
    if (!this.#isFollowing) return;
    if (now - this.#drawnAt < FRAME_MS) return this.#animate();
    const hasArrived = this.#window.approach(this.#run.last_s ?? this.#window.to_s, calm.matches);
    this.draw();
    if (!hasArrived) this.#animate();
  }
}
