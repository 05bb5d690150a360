/** Marks for actions, near misses and thresholds in the plot of scores, and the names at its lines. */

import { actionName } from "./action_names.js";
import { hueOf } from "./colours.js";
import { percent } from "./format.js";

const TOP = 3;
/** Scores that peak below this get no name. */
const MIN_NAMED_SCORE = 0.4;
/** A name at the right edge is removed when its score falls below this. */
const MIN_CURRENT_SCORE = 0.1;
/** The names at the right edge are those of scores that peaked within this time. */
const RECENT_S = 1.5;
/** The lane above the scores. */
export const LANE_PX = 22;
const LINE_PX = 16;

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

/** Describes the plot from `from_s` to `to_s`, in words that follow "Scores"; `clock` is a SessionClock. */
export function summaryOf(run, from_s, to_s, clock) {
  const parts = topPeaks(run, from_s, to_s).map(({ index, score }) => `${actionName(run.labels[index])} ${percent(score)}`);
  const highest = parts.length > 0 ? parts.join(", ") : "no action above the background";
  return `of ${Math.round(to_s - from_s)} seconds up to ${clock.text(to_s)}. Highest: ${highest}.`;
}

export function endOf(action, run) {
  return action.end_s ?? Math.max(run.last_s ?? 0, action.decided_s);
}

/**
 * A bar per action from its start to its end in the lane above, and a line at its start with its name; a dashed box per
 * action that a person says was missed.
 */
export function drawActions(context, view, { shown, missed, run, current }, theme) {
  for (const action of shown) {
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
  }
  for (const { label, start_s, end_s } of missed) {
    const x = Math.round(view.x(start_s)) + 0.5;
    context.strokeStyle = theme.label(hueOf(label, run.labels));
    context.lineWidth = 1;
    context.setLineDash([4, 3]);
    context.strokeRect(x, 2.5, Math.max(3, Math.round(view.x(end_s ?? start_s) - x)), view.bottom - 3);
    context.setLineDash([]);
  }
  const namesOf = (actions, what) => actions.map(({ start_s, label }) => ({ start_s, name: actionName(label) + what }));
  drawActionNames(context, view, [...namesOf(shown, ""), ...namesOf(missed, ", missed")], theme.text);
}

/** Those that start at the same time share a place. */
function drawActionNames(context, view, names, colour) {
  const places = [...Map.groupBy(names, ({ start_s }) => start_s)].sort(([one], [other]) => one - other);
  places.forEach(([start_s, those], place) => {
    const x = Math.round(view.x(start_s));
    const end = place + 1 < places.length ? view.x(places[place + 1][0]) : view.right;
    drawActionName(context, view, [...new Set(those.map(({ name }) => name))].join(", "), x, end - x, colour);
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

export function drawThreshold(context, view, score, colour) {
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  context.setLineDash([6, 4]);
  strokeFrom(context, view.left, view.y(score), view.right, view.y(score));
  context.setLineDash([]);
}

/** A hollow mark: this peak was no start. */
export function drawNearMiss(context, view, { peak, peak_s }, colour, theme) {
  context.beginPath();
  context.arc(view.x(peak_s), view.y(peak), 4.5, 0, 2 * Math.PI);
  context.fillStyle = theme.surface;
  context.fill();
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.stroke();
}

/** The name of a score that peaked without starting an action, above its peak. */
export function drawPeakName(context, view, { score, pts_s }, label, colour, theme) {
  const name = actionName(label);
  const half_px = context.measureText(name).width / 2;
  const x = Math.max(view.left + half_px, Math.min(view.x(pts_s), view.right - half_px));
  context.textAlign = "center";
  // Lines that cross it must not make it unreadable.
  context.strokeStyle = theme.page;
  context.lineWidth = 4;
  context.lineJoin = "round";
  context.strokeText(name, x, view.y(score) - 10);
  context.fillStyle = colour;
  context.fillText(name, x, view.y(score) - 10);
}

/** The highest current scores with their names, at the end of their lines and without overlap. */
export function drawNamesNow(context, view, run, colour) {
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
    context.fillText(`${percent(score)} ${actionName(run.labels[index])}`, x, heights[place] - excess, view.width - x);
  });
}

function strokeFrom(context, x0, y0, x1, y1) {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}
