/** A session's facts, in a few words. Pure. */

import { moment } from "./format.js";

const SAME_MS = 1000;
/** Explains the states of quiet decoding. */
const DECODING = {
  learning: "decodes every frame until it has seen both stillness and motion",
  on_motion: "decodes when something moves",
  no_signal: "decodes every frame, as their sizes do not show motion",
};

/** When it was submitted, how it is analysed, and the properties of its video once they are known. */
export function factsOf({ created_at, model, pace, regions, video }) {
  const facts = [`submitted ${moment(created_at)}`, model, pace === "realtime" ? "real time" : "fast"];
  if (regions.length > 0) facts.push(`regions: ${regions.map(({ name }) => name).join(", ")}`);
  if (video) {
    facts.push(`${video.width}×${video.height}`, video.codec);
    if (video.rate_hz) facts.push(`${Number(video.rate_hz.toFixed(2))} fps`);
    if (video.decoding) facts.push(DECODING[video.decoding]);
  }
  return facts;
}

/**
 * Unix time in ms of media time 0 of a live source, or null. Reports of workers jitter: the last one found, `before_ms`,
 * is kept while it is right to a second.
 */
export function zeroOf({ video, position_s, last_frame_at }, before_ms) {
  if (!video?.live || !last_frame_at) return null;
  const found_ms = Date.parse(last_frame_at) - position_s * 1000;
  return before_ms !== null && Math.abs(found_ms - before_ms) < SAME_MS ? before_ms : found_ms;
}
