/** Drawings over the frames of a session. Pure. */

import { actionName } from "./action_names.js";

const MIN_CAPTION_S = 1;

/** The analysed parts of each frame: its regions with their names, a part of it, or none if unknown. */
export function analysedParts({ regions, video }) {
  if (regions.length === 0) return video?.analysed ? [video.analysed] : [];
  return regions.map((region, index) => ({ ...(video?.analysed_regions[index] ?? region), name: region.name }));
}

/** Whether an action is on at a media time; short ones are shown for long enough to be read. */
function isOn({ start_s, end_s }, at_s) {
  return start_s <= at_s && at_s < Math.max(end_s ?? Infinity, start_s + MIN_CAPTION_S);
}

/** The actions that are on at a media time, null for none, by the part in which they are. */
export function captionsOf(actions, at_s) {
  const on = at_s === null ? [] : actions.filter((action) => isOn(action, at_s));
  const texts = Map.groupBy(on, ({ region }) => region ?? null);
  return [...texts].map(([part, those]) => ({ part, text: those.map(({ label }) => actionName(label)).join(", ") }));
}
