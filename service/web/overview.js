/** The strip below the plot: the whole session, its highest scores and its events. A drag selects what the plot shows. */

import { fitted } from "./canvas.js";
import { hueOf, readTheme } from "./colours.js";
import { ScoreRun } from "./scores.js";

const POINTS = 500;
/** When a live session has grown by so much, its strip is fetched again with fewer points per second. */
const GROWTH = 2;
/** A drag that is shorter than this is a click. */
const MIN_DRAG_PX = 4;
const dark = matchMedia("(prefers-color-scheme: dark)");
const element = (id) => document.getElementById(id);

export class Overview {
  #session;
  #onSelect;
  #onError;
  #canvas = element("overview");
  #run = null;
  #region = null;
  #length_s = 0;
  #position_s = 0;
  #shown = { actions: [], head_s: null, from_s: 0, to_s: 0 };
  #dragFrom_px = null;
  #dragTo_px = null;
  #closed = new AbortController();
  #resize = new ResizeObserver(() => this.#draw());

  /** `onSelect(from_s, to_s)` is called when the user selects a part. */
  constructor(session, { onSelect, onError }) {
    this.#session = session;
    this.#onSelect = onSelect;
    this.#onError = onError;
    const options = { signal: this.#closed.signal };
    this.#canvas.addEventListener("pointerdown", (event) => this.#onDown(event), options);
    this.#canvas.addEventListener("pointermove", (event) => this.#onMove(event), options);
    this.#canvas.addEventListener("pointerup", () => this.#onUp(), options);
    this.#canvas.addEventListener("pointercancel", () => this.#endDrag(), options);
    dark.addEventListener("change", () => this.#draw(), options);
    this.#resize.observe(this.#canvas);
  }

  close() {
    this.#closed.abort();
    this.#resize.disconnect();
  }

  /** Fetches what is new of the scores up to `position_s`, once it makes a visible difference. */
  async update(position_s, region, signal) {
    this.#position_s = position_s;
    if (position_s === 0) return;
    if (this.#run === null || region !== this.#region || position_s > GROWTH * this.#length_s) {
      this.#region = region;
      this.#length_s = position_s;
      const bin_s = Math.max(0.1, (GROWTH * position_s) / POINTS);
      this.#run = new ScoreRun(this.#session.id, this.#session.labels, region, { bin_s, keep_s: Infinity });
    }
    if (this.#run.last_s === null || position_s - this.#run.last_s > this.#length_s / POINTS) {
      await this.#run.follow(position_s, signal);
    }
    this.#draw();
  }

  /** Takes the actions, the media time of the video or null, and the window of the plot. */
  mark(shown) {
    this.#shown = shown;
    this.#draw();
  }

  #onDown(event) {
    if (event.button !== 0) return;
    this.#dragFrom_px = this.#dragTo_px = event.offsetX;
    this.#canvas.setPointerCapture(event.pointerId);
  }

  #onMove(event) {
    if (this.#dragFrom_px === null) return;
    this.#dragTo_px = Math.max(0, Math.min(event.offsetX, this.#canvas.clientWidth));
    this.#draw();
  }

  async #onUp() {
    if (this.#dragFrom_px === null) return;
    const [from_px, to_px] = [this.#dragFrom_px, this.#dragTo_px].sort((one, other) => one - other);
    const [from_s, to_s] = [from_px, to_px].map((x_px) => (x_px / this.#canvas.clientWidth) * this.#position_s);
    const half_s = (this.#shown.to_s - this.#shown.from_s) / 2;
    this.#endDrag();
    try {
      if (to_px - from_px < MIN_DRAG_PX) await this.#onSelect(from_s - half_s, from_s + half_s);
      else await this.#onSelect(from_s, to_s);
    } catch (error) {
      if (!this.#closed.signal.aborted) this.#onError(error);
    }
  }

  #endDrag() {
    this.#dragFrom_px = null;
    this.#draw();
  }

  #draw() {
    const theme = readTheme(this.#canvas);
    const context = fitted(this.#canvas, theme);
    if (context === null || this.#position_s === 0) return;
    const [width, height] = [this.#canvas.clientWidth, this.#canvas.clientHeight];
    const x = (pts_s) => (pts_s / this.#position_s) * width;
    this.#drawScores(context, x, height, theme);
    for (const action of this.#shown.actions) {
      context.fillStyle = theme.label(hueOf(action.label, this.#session.labels));
      const end_s = action.end_s ?? this.#position_s;
      context.fillRect(x(action.start_s), 0, Math.max(3, x(end_s) - x(action.start_s)), 6);
    }
    this.#drawWindow(context, x, width, height, theme);
    if (this.#shown.head_s === null) return;
    context.fillStyle = theme.text;
    context.fillRect(x(this.#shown.head_s) - 0.75, 0, 1.5, height);
  }

  /** An area as high as the highest score of any action. */
  #drawScores(context, x, height, theme) {
    if (!this.#run?.pts.length) return;
    const highest = (row) => Math.max(...row.map((score) => score ?? 0));
    context.beginPath();
    context.moveTo(x(this.#run.pts[0]), height);
    this.#run.pts.forEach((pts_s, place) => {
      context.lineTo(x(pts_s), height - highest(this.#run.rows[place]) * (height - 10));
    });
    context.lineTo(x(this.#run.last_s), height);
    context.fillStyle = theme.muted;
    context.globalAlpha = 0.45;
    context.fill();
    context.globalAlpha = 1;
  }

  /** The window of the plot, or the one that is being selected; what lies outside is shaded. */
  #drawWindow(context, x, width, height, theme) {
    const isDragging = this.#dragFrom_px !== null;
    const edges = isDragging ? [this.#dragFrom_px, this.#dragTo_px] : [x(this.#shown.from_s), x(this.#shown.to_s)];
    const from_px = Math.max(0, Math.min(...edges));
    const to_px = Math.min(width, Math.max(...edges));
    context.fillStyle = theme.page;
    context.globalAlpha = 0.5;
    context.fillRect(0, 0, from_px, height);
    context.fillRect(to_px, 0, width - to_px, height);
    context.globalAlpha = 1;
    context.strokeStyle = theme.accent;
    context.lineWidth = 2;
    context.strokeRect(from_px + 1, 1, Math.max(1, to_px - from_px - 2), height - 2);
  }
}
