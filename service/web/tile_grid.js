/** The grid in which tiles are largest. Pure. */

const GAP_PX = 8;
const CAPTION_PX = 46;
const RATIO = 16 / 9;

/** How many `{ columns, width_px }` fill a space with `count` tiles, each an image of 16:9 over its caption. */
export function fillingGrid(count, space_width_px, space_height_px) {
  let best = { columns: 1, width_px: 0 };
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const across_px = (space_width_px - GAP_PX * (columns - 1)) / columns;
    const down_px = ((space_height_px - GAP_PX * (rows - 1)) / rows - CAPTION_PX) * RATIO;
    const width_px = Math.floor(Math.min(across_px, down_px));
    if (width_px > best.width_px) best = { columns, width_px };
  }
  return best;
}
