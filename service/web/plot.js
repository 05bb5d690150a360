/** Draws scores over time on a canvas. Pure: what is drawn follows from the arguments. */

import { hueOf } from "./colours.js";
import { clock, percent } from "./format.js";

export const WINDOW_S = 30;
const TOP = 3;
const LANE_PX = 22;
const MARGIN = { left: 34, right: 118, bottom: 24 };
const LABEL_GAP_PX = 16;
/** Frames further apart than this are not joined by a line. */
const HOLE_S = 1;

/** Indices of the labels whose scores peak highest in the window, highest first. */
export function topLabels({ labels, rows, pts }, from_s, to_s) {
  const peaks = labels.map(() => 0);
  rows.forEach((row, frame) => {
    if (pts[frame] < from_s || pts[frame] > to_s) return;
    row.forEach((score, label) => (peaks[label] = Math.max(peaks[label], score)));
  });
  const order = labels.map((_, index) => index).sort((left, right) => peaks[right] - peaks[left]);
  return order.slice(0, TOP).filter((index) => peaks[index] > 0);
}

/**
 * `run` is a ScoreRun, `actions` are those of an ActionLog; the window is [to_s - WINDOW_S, to_s] in media time.
 */
export function drawPlot(canvas, { run, actions, to_s, theme }) {
  const box = canvas.getBoundingClientRect();
  const scale = window.devicePixelRatio;
  const [width, height] = [Math.round(box.width * scale), Math.round(box.height * scale)];
  if (width === 0) return;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, box.width, box.height);
  context.font = `12px ${theme.font}`;
  context.textBaseline = "middle";

  const from_s = to_s - WINDOW_S;
  const right = box.width - (box.width < 480 ? MARGIN.right - 24 : MARGIN.right);
  const bottom = box.height - MARGIN.bottom;
  const view = {
    left: MARGIN.left,
    right,
    top: LANE_PX + 10,
    bottom,
    x: (pts_s) => MARGIN.left + ((pts_s - from_s) / WINDOW_S) * (right - MARGIN.left),
    y: (score) => bottom - score * (bottom - LANE_PX - 10),
  };
  drawGrid(context, view, from_s, to_s, theme);
  const top = topLabels(run, from_s, to_s);
  context.save();
  context.beginPath();
  context.rect(view.left, 0, view.right - view.left, box.height);
  context.clip();
  drawActions(context, view, actions, run, from_s, to_s, theme);
  run.labels.forEach((_, index) => {
    if (!top.includes(index)) drawLine(context, view, run, index, theme.muted, 0.8, 0.3);
  });
  for (const index of top.toReversed()) {
    drawLine(context, view, run, index, theme.label(hueOf(run.labels[index], run.labels)), 2, 1);
  }
  context.restore();
  drawNames(context, view, run, top, to_s, theme, box.width);
}

function drawGrid(context, view, from_s, to_s, theme) {
  context.strokeStyle = theme.line;
  context.fillStyle = theme.muted;
  context.lineWidth = 1;
  context.textAlign = "right";
  for (const score of [0, 0.5, 1]) {
    const y = Math.round(view.y(score)) + 0.5;
    strokeFrom(context, view.left, y, view.right, y);
    context.fillText(percent(score), view.left - 6, y, view.left - 4);
  }
  context.textAlign = "center";
  const step_s = view.right - view.left < 340 ? 10 : 5;
  for (let pts_s = Math.max(0, Math.ceil(from_s / step_s) * step_s); pts_s <= to_s; pts_s += step_s) {
    const x = Math.round(view.x(pts_s)) + 0.5;
    strokeFrom(context, x, view.bottom, x, view.bottom + 4);
    context.fillText(clock(pts_s).slice(0, -2), x, view.bottom + 14);
  }
}

/** A bar per action from its start to its end in the lane above, and a line down at its start. */
function drawActions(context, view, actions, run, from_s, to_s, theme) {
  context.textAlign = "left";
  for (const action of actions) {
    const end_s = action.end_s ?? Math.max(run.last_s ?? 0, action.decided_s);
    if (end_s < from_s || action.start_s > to_s) continue;
    const hue = hueOf(action.label, run.labels);
    const x = Math.round(view.x(action.start_s));
    const width = Math.max(3, view.x(end_s) - x);
    context.fillStyle = theme.label(hue, 0.2);
    context.fillRect(x, 2, width, LANE_PX - 4);
    context.fillStyle = theme.label(hue, 0.07);
    context.fillRect(x, LANE_PX, width, view.bottom - LANE_PX);
    context.fillStyle = theme.label(hue);
    context.fillRect(x, 2, 2, view.bottom - 2);
    drawFitting(context, action.label, x + 6, LANE_PX / 2 + 0.5, width - 8, theme.text);
  }
}

function drawFitting(context, text, x, y, room, colour) {
  if (context.measureText(text).width > room) return;
  context.fillStyle = colour;
  context.fillText(text, x, y);
}

function drawLine(context, view, run, index, colour, width, alpha) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.globalAlpha = alpha;
  context.lineJoin = "round";
  context.beginPath();
  run.pts.forEach((pts_s, frame) => {
    const joined = frame > 0 && pts_s - run.pts[frame - 1] < HOLE_S;
    context[joined ? "lineTo" : "moveTo"](view.x(pts_s), view.y(run.rows[frame][index]));
  });
  context.stroke();
  context.globalAlpha = 1;
}

/** The top labels' names at the right edge, at the height of their last score but never over each other. */
function drawNames(context, view, run, top, to_s, theme, fullWidth) {
  const frame = run.pts.findLastIndex((pts_s) => pts_s <= to_s);
  if (frame < 0) return;
  const names = top.map((index) => ({ index, score: run.rows[frame][index] }));
  names.sort((left, right) => right.score - left.score);
  let y = view.top - LABEL_GAP_PX;
  const heights = names.map(({ score }) => (y = Math.max(view.y(score), y + LABEL_GAP_PX)));
  const over = Math.max(0, y - view.bottom);
  context.textAlign = "left";
  const x = Math.min(view.right, Math.max(view.left, view.x(run.pts[frame]))) + 8;
  names.forEach(({ index, score }, place) => {
    const room_px = fullWidth - view.right - 8;
    context.fillStyle = theme.label(hueOf(run.labels[index], run.labels));
    const text = `${percent(score)} ${run.labels[index]}`;
    context.fillText(text, Math.min(x, view.right + 8), heights[place] - over, room_px);
  });
}

function strokeFrom(context, x0, y0, x1, y1) {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}
