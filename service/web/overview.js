/** The strip below the plot: the whole session, its highest scores and its events. A drag selects what the plot shows. */

import { actionName } from "./action_names.js";
import { Chart, canvasOf } from "./chart.js";
import { hueOf, readTheme } from "./colours.js";
import { ScoreRun } from "./scores.js";

const POINTS = 500;
/** When a live session has grown by so much, its strip is fetched again with fewer points per second. */
const GROWTH = 2;
/** How near the pointer must come to a bar. */
const REACH_PX = 3;
/** A drag that is shorter than this is a click. */
const MIN_DRAG_PX = 4;
const BAR_PX = 6;
/** The highest score, with room for the bars above. */
const TOP_SCORE = 1.3;
const dark = matchMedia("(prefers-color-scheme: dark)");
const element = (id) => document.getElementById(id);

export class Overview {
  #session;
  #onSelect;
  #onError;
  #box = element("overview");
  #chart;
  #theme;
  #drawn = {};
  #run = null;
  #region = null;
  #length_s = 0;
  #position_s = 0;
  #shown = { actions: [], missed: [], from_s: 0, to_s: 0 };
  #dragFrom_s = null;
  #dragTo_s = null;
  #closed = new AbortController();

  /** `onSelect(from_s, to_s)` is called when the user selects a part. */
  constructor(session, { onSelect, onError }) {
    this.#session = session;
    this.#onSelect = onSelect;
    this.#onError = onError;
    this.#theme = readTheme(this.#box);
    this.#chart = new Chart(this.#box, this.#options(), [[], []]);
    const options = { signal: this.#closed.signal };
    const { over } = this.#chart;
    over.addEventListener("pointerdown", (event) => this.#onDown(event), options);
    over.addEventListener("pointermove", (event) => this.#onMove(event), options);
    over.addEventListener("pointerup", () => this.#onUp(), options);
    over.addEventListener("pointercancel", () => this.#endDrag(), options);
    dark.addEventListener("change", () => this.#draw(), options);
  }

  close() {
    this.#closed.abort();
    this.#chart.close();
  }

  #options() {
    const fill = () => `color-mix(in srgb, ${this.#theme.muted} 45%, transparent)`;
    return {
      padding: [0, 0, 0, 0],
      axes: [{ show: false }, { show: false }],
      cursor: { show: false },
      scales: { x: { time: false, auto: false }, y: { auto: false, range: [0, TOP_SCORE] } },
      series: [{}, { fill, width: 0, auto: false, points: { show: false } }],
      hooks: { draw: [(uplot) => this.#drawActions(uplot)] },
    };
  }

  /** Fetches new scores up to `position_s`, once they make a visible difference. */
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

  /** Marks the media time that the video shows; null for none. */
  showHead(at_s) {
    this.#chart.showHead(at_s);
  }

  /** Takes the actions, those that people say were missed, and the window of the plot. */
  mark(shown) {
    this.#shown = shown;
    this.#draw();
  }

  #onDown(event) {
    if (event.button !== 0) return;
    this.#dragFrom_s = this.#dragTo_s = this.#chart.timeAt(event.offsetX);
    this.#chart.over.setPointerCapture(event.pointerId);
  }

  #onMove(event) {
    this.#nameAt(event.offsetX);
    if (this.#dragFrom_s === null) return;
    this.#dragTo_s = this.#chart.timeAt(event.offsetX);
    this.#draw();
  }

  /** The bars have no room for names. */
  #nameAt(x_px) {
    const isNear = ({ start_s, end_s }) => {
      const [from_s, to_s] = [this.#chart.timeAt(x_px - REACH_PX), this.#chart.timeAt(x_px + REACH_PX)];
      return start_s <= to_s && (end_s ?? this.#position_s) >= from_s;
    };
    const { actions, missed } = this.#shown;
    const names = [...actions, ...missed].filter(isNear).map(({ label }) => actionName(label));
    this.#box.title = [...new Set(names)].join(", ");
  }

  async #onUp() {
    if (this.#dragFrom_s === null) return;
    const [from_s, to_s] = [this.#dragFrom_s, this.#dragTo_s].sort(ascending);
    const dragged_px = ((to_s - from_s) / this.#position_s) * this.#box.clientWidth;
    const half_s = (this.#shown.to_s - this.#shown.from_s) / 2;
    this.#endDrag();
    try {
      if (dragged_px < MIN_DRAG_PX) await this.#onSelect(from_s - half_s, from_s + half_s);
      else await this.#onSelect(from_s, to_s);
    } catch (error) {
      if (!this.#closed.signal.aborted) this.#onError(error);
    }
  }

  #endDrag() {
    this.#dragFrom_s = null;
    this.#draw();
  }

  #draw() {
    if (this.#position_s === 0) return;
    const { from_s, to_s } = this.#shown;
    const isDragging = this.#dragFrom_s !== null;
    const edges = isDragging ? [this.#dragFrom_s, this.#dragTo_s].sort(ascending) : [from_s, to_s];
    if (this.#run !== this.#drawn.run || this.#run?.last_s !== this.#drawn.last_s) this.#chart.setData(highest(this.#run));
    this.#drawn = { run: this.#run, last_s: this.#run?.last_s };
    this.#theme = readTheme(this.#box);
    this.#chart.draw(0, this.#position_s, edges.map((at_s) => Math.max(0, Math.min(at_s, this.#position_s))));
  }

  /** The actions, as bars along the upper edge; those that were missed are hollow. */
  #drawActions(uplot) {
    const { view, draw } = canvasOf(uplot);
    draw((context) => {
      for (const { label, start_s, end_s } of this.#shown.actions) {
        context.fillStyle = this.#theme.label(hueOf(label, this.#session.labels));
        const width = view.x(end_s ?? this.#position_s) - view.x(start_s);
        context.fillRect(view.x(start_s), 0, Math.max(3, width), BAR_PX);
      }
      for (const { label, start_s, end_s } of this.#shown.missed) {
        context.strokeStyle = this.#theme.label(hueOf(label, this.#session.labels));
        const width = view.x(end_s ?? start_s) - view.x(start_s);
        context.strokeRect(view.x(start_s) + 0.5, 0.5, Math.max(3, width), BAR_PX - 1);
      }
    });
  }
}

const ascending = (one, other) => one - other;

/** The highest score of any action over time, as uPlot takes it. */
function highest(run) {
  if (run === null) return [[], []];
  return [run.pts, run.rows.map((row) => Math.max(...row.map((score) => score ?? 0)))];
}
