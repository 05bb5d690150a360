/** The scores of a session over time, as a chart. */

import { actionName } from "./action_names.js";
import { Chart, canvasOf } from "./chart.js";
import { hueOf, readTheme } from "./colours.js";
import { clock, percent, percentBelow, wallClock } from "./format.js";
import { sentenceOf } from "./near_misses.js";
import {
  LANE_PX, drawActions, drawNamesNow, drawNearMiss, drawPeakName, drawThreshold, endOf, summaryOf,
  topPeaks,
} from "./plot_marks.js";

/** Room that a time below the plot needs. */
const TICK_PX = 64;
const TICKS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400];
const MARGIN_PX = { left: 40, right: 112, rightIfNarrow: 84, bottom: 24, top: LANE_PX + 10 };
const NARROW_PX = 480;
/** Labels that acted or peaked stand out from the others. */
const STANDING_OUT = { width: 2, alpha: 1 };
const BACKGROUND = { width: 0.8, alpha: 0.35 };
/** Scores below this are not named at the pointer. */
const MIN_READ_SCORE = 0.05;
const MAX_READ = 4;
/** Of the highest score from here on, the reading at the pointer says that it is below its threshold. */
const MIN_EXPLAINED_SCORE = 0.2;
const SUMMARY_MS = 5000;
/** How near the pointer must come to a near miss. */
const REACH_PX = 8;

export class ScorePlot {
  #box;
  #labels;
  #onRead;
  #chart;
  #theme;
  #state = null;
  #clock;
  #drawn = {};
  #summary_ms = -Infinity;

  /**
   * `clock` is a SessionClock. `onRead(sentence)` is called with the highest scores at the pointer, and with "" when it
   * has left.
   */
  constructor(box, labels, clock, onRead) {
    this.#clock = clock;
    this.#box = box;
    this.#labels = labels;
    this.#onRead = onRead;
    this.#theme = readTheme(box);
    this.#chart = new Chart(box, this.#options(), [[], ...labels.map(() => [])]);
  }

  close() {
    this.#chart.close();
    this.#onRead("");
  }

  get over() {
    return this.#chart.over;
  }

  timeAt(x_px) {
    return this.#chart.timeAt(x_px);
  }

  showHead(at_s) {
    this.#chart.showHead(at_s);
  }

  /**
   * `run` is a ScoreRun, `actions` those of an ActionLog, `nearMisses` those of a rules trial, and `threshold` a score to
   * mark for one label, or null, `rules` those that decide, by label, `selection` a part [from_s, to_s] to highlight, or null, `current` the id of the
   * action to highlight, `missed` actions that people say were missed; the window is [from_s, to_s] in media time.
   */
  draw(state) {
    const { run, actions, from_s, to_s } = state;
    const shown = actions.filter((action) => endOf(action, run) >= from_s && action.start_s <= to_s);
    const acted = new Set(shown.map((action) => run.labels.indexOf(action.label)));
    const peaks = topPeaks(run, from_s, to_s, acted);
    const coloured = new Set([...acted, ...peaks.map(({ index }) => index)]);
    this.#state = { ...state, shown, peaks, coloured };
    this.#theme = readTheme(this.#box);
    const chosen = state.threshold && run.labels.indexOf(state.threshold.label);
    if (chosen !== null) coloured.add(chosen);
    const standsOut = (index) => (chosen === null ? coloured.has(index) : index === chosen);
    this.#labels.forEach((_, index) => this.#chart.style(index, standsOut(index) ? STANDING_OUT : BACKGROUND));
    const drawn = { run, last_s: run.last_s, first_s: run.pts[0] };
    if (Object.keys(drawn).some((key) => drawn[key] !== this.#drawn[key])) this.#chart.setData(columnsOf(run));
    this.#drawn = drawn;
    this.#chart.draw(from_s, to_s, state.selection);
    this.#summarise();
  }

  /** For screen readers; rarely, because the scores change all the time. */
  #summarise() {
    const { run, from_s, to_s } = this.#state;
    if (run.last_s === null || performance.now() - this.#summary_ms < SUMMARY_MS) return;
    this.#summary_ms = performance.now();
    document.getElementById("plot-summary").textContent = summaryOf(run, from_s, to_s, this.#clock);
  }

  #options() {
    const font = this.#font;
    const stroke = () => this.#theme.muted;
    const line = () => this.#theme.line;
    const x = {
      stroke, font, size: MARGIN_PX.bottom, gap: 4, space: TICK_PX, incrs: TICKS_S, grid: { show: false },
      ticks: { stroke: line, width: 1, size: 4 }, splits: (_, axis, from_s, to_s, step_s) => this.#ticks(from_s, to_s, step_s),
      values: (_, times) => times.map((pts_s) => this.#timeText(pts_s)),
    };
    const y = {
      stroke, font, size: MARGIN_PX.left, gap: 6, splits: () => [0, 0.5, 1], grid: { stroke: line, width: 1 },
      ticks: { show: false }, values: (_, scores) => scores.map(percent),
    };
    const right = ({ width }) => (width < NARROW_PX ? MARGIN_PX.rightIfNarrow : MARGIN_PX.right);
    return {
      padding: [MARGIN_PX.top, right, 0, 0],
      scales: { x: { time: false, auto: false }, y: { auto: false, range: [0, 1] } },
      axes: [x, y],
      series: [{}, ...this.#labels.map((label, index) => this.#series(label, index))],
      hooks: {
        drawAxes: [(uplot) => this.#drawBelow(uplot)],
        draw: [(uplot) => this.#drawAbove(uplot)],
        setCursor: [(uplot) => this.#onRead(this.#read(uplot))],
      },
    };
  }

  #series(label, index) {
    const stroke = () => (this.#state?.coloured.has(index) ? this.#colour(index) : this.#theme.muted);
    return { label, stroke, auto: false, points: { show: false } };
  }

  #colour(index) {
    return this.#theme.label(hueOf(this.#labels[index], this.#labels));
  }

  #colourOf(label) {
    return this.#colour(this.#labels.indexOf(label));
  }

  #drawBelow(uplot) {
    if (this.#state === null) return;
    const { view, draw } = this.#canvasOf(uplot);
    draw((context) => {
      clipToPlot(context, view);
      drawActions(context, view, this.#state, this.#theme);
    });
  }

  get #font() {
    return `12px ${this.#theme.font}`;
  }

  /** Sets the font: the one that uPlot leaves is already enlarged by the ratio of pixels. */
  #canvasOf(uplot) {
    const { view, draw } = canvasOf(uplot);
    const drawWithFont = (drawing) => draw((context) => {
      context.font = this.#font;
      drawing(context);
    });
    return { view, draw: drawWithFont };
  }

  #drawAbove(uplot) {
    if (this.#state === null) return;
    const { run, threshold, nearMisses, peaks } = this.#state;
    const { view, draw } = this.#canvasOf(uplot);
    draw((context) => {
      clipToPlot(context, view);
      if (threshold !== null) drawThreshold(context, view, threshold.score, this.#colourOf(threshold.label));
      for (const miss of nearMisses) drawNearMiss(context, view, miss, this.#colourOf(miss.label), this.#theme);
      for (const peak of peaks) {
        drawPeakName(context, view, peak, run.labels[peak.index], this.#colour(peak.index), this.#theme);
      }
    });
    draw((context) => drawNamesNow(context, view, run, (index) => this.#colour(index)));
  }

  /** The whole seconds at which times stand below the plot. */
  #ticks(from_s, to_s, step_s) {
    const zero_s = ((this.#clock.zero_ms ?? 0) / 1000) % 86_400;
    const first = Math.ceil((Math.max(0, from_s) + zero_s) / step_s);
    const last = Math.floor((to_s + zero_s) / step_s);
    return Array.from({ length: Math.max(0, last - first + 1) }, (_, place) => (first + place) * step_s - zero_s);
  }

  #timeText(pts_s) {
    const { zero_ms } = this.#clock;
    return zero_ms === null ? clock(pts_s).slice(0, -2) : wallClock(Math.round((zero_ms + pts_s * 1000) / 10) * 10).slice(-8);
  }

  /** The near miss at the pointer, or undefined. */
  #missAt(uplot) {
    const { left } = uplot.cursor;
    const distance = ({ peak_s }) => Math.abs(uplot.valToPos(peak_s, "x") - left);
    const [nearest] = (this.#state?.nearMisses ?? []).toSorted((one, other) => distance(one) - distance(other));
    return nearest && distance(nearest) <= REACH_PX ? nearest : undefined;
  }

  /** Why a score is not an action, in brackets; "" while it is one, or if it is too low to matter. */
  #whyNot({ label, score }, at_s) {
    const { shown, run, rules } = this.#state;
    const enter = rules[label]?.enter ?? 0;
    const isAction = shown.some((action) => action.label === label && action.start_s <= at_s && at_s <= endOf(action, run));
    const isAsked = score >= MIN_EXPLAINED_SCORE && score < enter && !isAction;
    return isAsked ? ` (below the threshold of ${percent(enter)})` : "";
  }

  /** What the bands at the pointer are, narrow ones too: `fight from 0:14.4 to 0:15.3, `, or "". */
  #bandsAt(uplot) {
    const { shown, missed, run } = this.#state;
    const { left } = uplot.cursor;
    const isNear = ({ start_s }, end_s) => uplot.valToPos(start_s, "x") - REACH_PX <= left && left <= uplot.valToPos(end_s, "x") + REACH_PX;
    const text = ({ label, start_s, end_s }, what) => {
      const until = end_s === null ? "" : ` to ${this.#clock.text(end_s)}`;
      return `${actionName(label)}${what} from ${this.#clock.text(start_s)}${until}`;
    };
    const bands = shown.filter((action) => isNear(action, endOf(action, run))).map((action) => text(action, ""));
    const boxes = missed.filter((each) => isNear(each, each.end_s ?? each.start_s)).map((each) => text(each, " (missed)"));
    return [...bands, ...boxes].join(", ");
  }

  /** The actions and the highest scores at the pointer, or why there was no event. */
  #read(uplot) {
    const { data, cursor: { idx } } = uplot;
    if (idx === null || idx === undefined) return "";
    const scores = this.#labels.map((label, index) => ({ label, score: data[index + 1][idx] ?? 0 }));
    const highest = scores.filter(({ score }) => score >= MIN_READ_SCORE).sort((one, other) => other.score - one.score);
    const texts = highest.slice(0, MAX_READ).map(({ label, score }) => {
      return `${actionName(label)} ${percentBelow(score, this.#state.rules[label]?.enter ?? 0)}`;
    });
    if (highest.length > 0) texts[0] += this.#whyNot(highest[0], data[0][idx]);
    const [bands, miss] = [this.#bandsAt(uplot), this.#missAt(uplot)];
    const what = miss ? sentenceOf(miss) : `${this.#timeText(data[0][idx])}: ${texts.join(", ") || "no action"}`;
    return [bands, what].filter(Boolean).join(" · ");
  }
}

function clipToPlot(context, view) {
  context.beginPath();
  context.rect(view.left, 0, view.right - view.left, view.bottom + 1);
  context.clip();
}

/** Times, then the scores of each label, as uPlot takes them; no line crosses a gap. */
function columnsOf(run) {
  const pts_s = [];
  const columns = run.labels.map(() => []);
  const append = (at_s, row) => {
    pts_s.push(at_s);
    columns.forEach((column, index) => column.push(row?.[index] ?? null));
  };
  run.pts.forEach((at_s, frame) => {
    const before_s = run.pts[frame - 1];
    if (frame > 0 && at_s - before_s >= run.gap_s) append((before_s + at_s) / 2, null);
    append(at_s, run.rows[frame]);
  });
  return [pts_s, ...columns];
}
