/** Draws scores over time on a canvas. The drawing only depends on the arguments. */

import { fitted } from "./canvas.js";
import { hueOf } from "./colours.js";
import { clock, percent } from "./format.js";

const TOP = 3;
/** Scores that peak below this get no name. */
const MIN_NAMED_SCORE = 0.4;
/** A name at the right edge is removed when its score falls below this. */
const MIN_CURRENT_SCORE = 0.1;
/** The names at the right edge are those of scores that peaked within this time. */
const RECENT_S = 1.5;
const LANE_PX = 22;
const LINE_PX = 16;
/** Room that a time below the plot needs. */
const TICK_PX = 56;
const TICKS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
const MARGIN = { left: 40, right: 112, bottom: 24 };
const NARROW_PX = 480;

/** Indices of the labels that peak highest in [from_s, to_s], highest first, with their peaks; none in `except`. */
export function topPeaks({ labels, rows, pts }, from_s, to_s, except = new Set()) {
  const peaks = labels.map((_, index) => ({ index, score: 0, pts_s: from_s }));
  rows.forEach((row, frame) => {
    if (pts[frame] < from_s || pts[frame] > to_s) return;
    row.forEach((score, index) => {
      if (score > peaks[index].score) peaks[index] = { index, score, pts_s: pts[frame] };
    });
  });
  peaks.sort((left, right) => right.score - left.score);
  return peaks.filter(({ index, score }) => score >= MIN_NAMED_SCORE && !except.has(index)).slice(0, TOP);
}

/**
 * `run` is a ScoreRun, `actions` those of an ActionLog, `nearMisses` those of a rules trial, and `threshold` a score to
 * mark for one label, or null, `selection` a part [from_s, to_s] to highlight, or null, `current` the id of the
 * action to highlight, `head_s` the media time that the video shows, or null; the window is
 * [from_s, to_s] in media time.
 */
export function drawPlot(canvas, { run, actions, nearMisses, threshold, selection, current, head_s, from_s, to_s, theme }) {
  const context = fitted(canvas, theme);
  if (context === null) return;
  const view = viewOf(canvas.getBoundingClientRect(), from_s, to_s);
  const shown = actions.filter((action) => endOf(action, run) >= view.from_s && action.start_s <= to_s);
  const acted = new Set(shown.map((action) => run.labels.indexOf(action.label)));
  const peaks = topPeaks(run, view.from_s, to_s, acted);
  const coloured = new Set([...acted, ...peaks.map(({ index }) => index)]);
  const colour = (index) => theme.label(hueOf(run.labels[index], run.labels));

  drawGrid(context, view, theme);
  context.save();
  context.beginPath();
  context.rect(view.left, 0, view.right - view.left, view.bottom + 1);
  context.clip();
  if (selection !== null) drawSelection(context, view, selection, theme);
  drawActions(context, view, shown, run, current, theme);
  run.labels.forEach((_, index) => {
    if (!coloured.has(index)) drawLine(context, view, run, index, theme.muted, 0.8, 0.35);
  });
  for (const index of coloured) drawLine(context, view, run, index, colour(index), 2, 1);
  if (threshold !== null) drawThreshold(context, view, threshold.score, colour(run.labels.indexOf(threshold.label)));
  for (const miss of nearMisses) drawNearMiss(context, view, miss, colour(run.labels.indexOf(miss.label)), theme);
  for (const peak of peaks) drawPeakName(context, view, peak, run.labels[peak.index], colour(peak.index));
  if (head_s !== null) drawHead(context, view, head_s, theme);
  context.restore();
  drawNamesNow(context, view, run, colour);
}

/** Media time at `x_px` of a canvas that shows the window [from_s, to_s], not outside it. */
export function timeAt(canvas, x_px, from_s, to_s) {
  const { left, right } = viewOf(canvas.getBoundingClientRect(), from_s, to_s);
  const share = (x_px - left) / (right - left);
  return from_s + Math.min(1, Math.max(0, share)) * (to_s - from_s);
}

function drawSelection(context, view, [from_s, to_s], theme) {
  context.fillStyle = theme.line;
  context.fillRect(view.x(from_s), view.top, view.x(to_s) - view.x(from_s), view.bottom - view.top);
}

function endOf(action, run) {
  return action.end_s ?? Math.max(run.last_s ?? 0, action.decided_s);
}

function viewOf({ width, height }, from_s, to_s) {
  const [left, top] = [MARGIN.left, LANE_PX + 10];
  const right = width - (width < NARROW_PX ? MARGIN.right - 28 : MARGIN.right);
  const bottom = height - MARGIN.bottom;
  const x = (pts_s) => left + ((pts_s - from_s) / (to_s - from_s)) * (right - left);
  const y = (score) => bottom - score * (bottom - top);
  return { from_s, to_s, left, right, top, bottom, width, x, y };
}

function drawGrid(context, view, theme) {
  context.strokeStyle = theme.line;
  context.fillStyle = theme.muted;
  context.lineWidth = 1;
  context.textAlign = "right";
  for (const score of [0, 0.5, 1]) {
    const y = Math.round(view.y(score)) + 0.5;
    strokeFrom(context, view.left, y, view.right, y);
    context.fillText(percent(score), view.left - 6, y);
  }
  context.textAlign = "center";
  const step_s = tickStep(view);
  for (let pts_s = Math.max(0, Math.ceil(view.from_s / step_s) * step_s); pts_s <= view.to_s; pts_s += step_s) {
    const x = Math.round(view.x(pts_s)) + 0.5;
    strokeFrom(context, x, view.bottom, x, view.bottom + 4);
    context.fillText(clock(pts_s).slice(0, -2), x, view.bottom + 14);
  }
}

/** Seconds between the times below the plot, so that they do not touch. */
function tickStep({ left, right, from_s, to_s }) {
  const least_s = ((to_s - from_s) * TICK_PX) / (right - left);
  return TICKS_S.find((step_s) => step_s >= least_s) ?? Math.ceil(least_s / 3600) * 3600;
}

/** A bar per action from its start to its end in the lane above, and a line at its start with its name. */
function drawActions(context, view, actions, run, current, theme) {
  actions.forEach((action, place) => {
    const hue = hueOf(action.label, run.labels);
    const x = Math.round(view.x(action.start_s));
    const width = Math.max(3, view.x(endOf(action, run)) - x);
    const strength = action.id === current ? 2.5 : 1;
    context.fillStyle = theme.label(hue, 0.22 * strength);
    context.fillRect(x, 2, width, LANE_PX - 4);
    context.fillStyle = theme.label(hue, 0.07 * strength);
    context.fillRect(x, LANE_PX, width, view.bottom - LANE_PX);
    context.fillStyle = theme.label(hue);
    context.fillRect(x, 2, 2, view.bottom - 2);
    const nextX = place + 1 < actions.length ? view.x(actions[place + 1].start_s) : view.right;
    drawActionName(context, view, action.label, x, nextX - x, theme.text);
  });
}

/** In the lane if there is room, else vertically along the line, else not at all. */
function drawActionName(context, view, label, x, room_px, colour) {
  context.textAlign = "left";
  context.fillStyle = colour;
  const textX = Math.max(x, view.left) + 6;
  if (context.measureText(label).width < x + room_px - textX - 4) {
    context.fillText(label, textX, LANE_PX / 2 + 0.5);
  } else if (x >= view.left && room_px >= LINE_PX) {
    context.save();
    context.translate(x + 10, LANE_PX + 4);
    context.rotate(Math.PI / 2);
    context.fillText(label, 0, 0);
    context.restore();
  }
}

function drawLine(context, view, run, index, colour, width, alpha) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.globalAlpha = alpha;
  context.beginPath();
  run.pts.forEach((pts_s, frame) => {
    const joined = frame > 0 && pts_s - run.pts[frame - 1] < run.gap_s;
    context[joined ? "lineTo" : "moveTo"](view.x(pts_s), view.y(run.rows[frame][index]));
  });
  context.stroke();
  context.globalAlpha = 1;
}

function drawThreshold(context, view, score, colour) {
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  context.setLineDash([6, 4]);
  strokeFrom(context, view.left, view.y(score), view.right, view.y(score));
  context.setLineDash([]);
}

/** A hollow mark: this peak was no start. */
function drawNearMiss(context, view, { peak, peak_s }, colour, theme) {
  context.beginPath();
  context.arc(view.x(peak_s), view.y(peak), 4.5, 0, 2 * Math.PI);
  context.fillStyle = theme.surface;
  context.fill();
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.stroke();
}

/** The name of a score that peaked without starting an action, above its peak. */
function drawPeakName(context, view, { score, pts_s }, label, colour) {
  const half_px = context.measureText(label).width / 2;
  const x = Math.max(view.left + half_px, Math.min(view.x(pts_s), view.right - half_px));
  context.textAlign = "center";
  context.fillStyle = colour;
  context.fillText(label, x, view.y(score) - 10);
}

/** The highest current scores with their names, at the end of their lines and without overlap. */
function drawNamesNow(context, view, run, colour) {
  const frame = run.pts.findLastIndex((pts_s) => pts_s <= view.to_s);
  if (frame < 0) return;
  const now_s = run.pts[frame];
  const names = topPeaks(run, now_s - RECENT_S, now_s)
    .map(({ index }) => ({ index, score: run.rows[frame][index] }))
    .filter(({ score }) => score >= MIN_CURRENT_SCORE);
  names.sort((left, right) => right.score - left.score);
  let lowest = view.top - LINE_PX;
  const heights = names.map(({ score }) => (lowest = Math.max(view.y(score), lowest + LINE_PX)));
  const excess = Math.max(0, lowest - view.bottom);
  const x = Math.min(view.right, Math.max(view.left, view.x(now_s))) + 8;
  context.textAlign = "left";
  names.forEach(({ index, score }, place) => {
    context.fillStyle = colour(index);
    context.fillText(`${percent(score)} ${run.labels[index]}`, x, heights[place] - excess, view.width - x);
  });
}

/** The line of the play-head, with a handle above. */
function drawHead(context, view, head_s, theme) {
  const x = Math.round(view.x(head_s)) + 0.5;
  context.strokeStyle = theme.text;
  context.fillStyle = theme.text;
  context.lineWidth = 1.5;
  strokeFrom(context, x, 0, x, view.bottom);
  context.beginPath();
  context.moveTo(x - 6, 0);
  context.lineTo(x + 6, 0);
  context.lineTo(x, 8);
  context.fill();
}

function strokeFrom(context, x0, y0, x1, y1) {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}
