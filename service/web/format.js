/** Formats numbers, times and names for people. */

import { serverNow_ms } from "./server_clock.js";

/** Media time in seconds as `0:12.4`, or `1:02:03.4` from an hour on. */
export function clock(seconds) {
  const tenths = Math.max(0, Math.round(seconds * 10));
  const whole = Math.floor(tenths / 10);
  const pad = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const head = hours > 0 ? `${hours}:${pad(minutes)}` : String(minutes);
  return `${head}:${pad(whole % 60)}.${tenths % 10}`;
}

/** A time of day with seconds, local, as `22:45:10`; with the date unless it is today. `ms` is Unix time. */
export function wallClock(ms) {
  const date = new Date(ms);
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  if (date.toDateString() === new Date().toDateString()) return time;
  return `${date.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
}

/** When an action started: of cameras by the clock on the wall, else in the video. */
export function timeOf({ start_time: time, start_s }) {
  return time ? wallClock(Date.parse(time)) : clock(start_s);
}

/** What the times of a session are: `isWall`, times of day, or else times in the video. */
export function clockName(isWall) {
  return isWall ? "local time" : "in video";
}

/** Score in [0, 1] as `91%`. */
export function percent(score) {
  return `${Math.round(score * 100)}%`;
}

/** A score as `91%`, or `90.9%` where that would read as the threshold that it is below. */
export function percentBelow(score, threshold) {
  const text = percent(score);
  const isBelow = score < threshold && text === percent(threshold);
  return isBelow ? `${(Math.floor(score * 1000) / 10).toFixed(1)}%` : text;
}

/** A duration: `31 ms` below a second, else `1.2 s`. */
export function span(seconds) {
  return seconds < 0.9995 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;
}

/** A duration in media time, to a tenth of a second: `0.2 s`. */
export function tenths(seconds) {
  return `${Math.max(0, seconds).toFixed(1)} s`;
}

/** A timestamp (ISO 8601) in local time; with the date unless it is today. */
export function moment(iso) {
  const date = new Date(iso);
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  if (date.toDateString() === new Date().toDateString()) return time;
  return `${date.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
}

/** How long ago a timestamp (ISO 8601) was: `12 s ago`, `3 min ago`, `2 h ago`; from a day on the time itself. */
export function ago(iso) {
  const passed_s = Math.max(0, (serverNow_ms() - Date.parse(iso)) / 1000);
  if (passed_s < 60) return `${Math.floor(passed_s)} s ago`;
  if (passed_s < 3600) return `${Math.floor(passed_s / 60)} min ago`;
  return passed_s < 86_400 ? `${Math.floor(passed_s / 3600)} h ago` : moment(iso);
}

/** A size as `1.2 GB`, in powers of 1000 as disks are sold. */
export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let power = Math.floor(Math.log10(Math.max(1, bytes)) / 3);
  if (Math.round(bytes / 1000 ** power) >= 1000) power += 1;
  power = Math.min(units.length - 1, power);
  const number = bytes / 1000 ** power;
  return `${number < 9.95 && power > 0 ? number.toFixed(1) : Math.round(number)} ${units[power]}`;
}

/** The region of an action as the end of its name: ` in door`, or nothing. */
export function inRegion({ region }) {
  return region ? ` in ${region}` : "";
}

/** The URL's fragment that shows an action in its session. */
export function eventHash({ session_id: sessionId, id }) {
  return `#session=${encodeURIComponent(sessionId)}&event=${encodeURIComponent(id)}`;
}

/** The display name of a session: its own name, else the name of its source. */
export function sourceName({ name, source }) {
  return name ?? source.url ?? source.filename ?? (source.kind === "push" ? "Pushed video" : "Uploaded video");
}
