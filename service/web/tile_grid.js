/** The grid in which the images of tiles are largest. Pure. */

const GAP_PX = 8;
const CAPTION_PX = 46;
/** While there are no images. */
const USUAL_RATIO = 16 / 9;

/**
 * How many `columns` of tiles of `width_px` fill a space, and the `ratio` of width to height of the place for an image
 * over the caption of each. `ratios` are those of the images, null for tiles without one.
 */
export function fillingGrid(ratios, space_width_px, space_height_px) {
  let best = { columns: 1, width_px: 0, ratio: widest(ratios), area_px: 0 };
  const images = known(ratios);
  for (const ratio of new Set(images)) {
    for (let columns = 1; columns <= ratios.length; columns += 1) {
      const rows = Math.ceil(ratios.length / columns);
      const across_px = (space_width_px - GAP_PX * (columns - 1)) / columns;
      const down_px = ((space_height_px - GAP_PX * (rows - 1)) / rows - CAPTION_PX) * ratio;
      const width_px = Math.max(0, Math.floor(Math.min(across_px, down_px)));
      const area_px = images.reduce((sum_px, each) => sum_px + imageArea(each, width_px, width_px / ratio), 0);
      if (area_px > best.area_px) best = { columns, width_px, ratio, area_px };
    }
  }
  return best;
}

/** The ratio at which each image is as wide as its tile. */
export function widest(ratios) {
  return Math.max(...known(ratios));
}

function known(ratios) {
  const images = ratios.filter((ratio) => ratio !== null);
  return images.length > 0 ? images : [USUAL_RATIO];
}

/** Of an image as large as its place allows. */
function imageArea(ratio, width_px, height_px) {
  return Math.min(width_px, height_px * ratio) * Math.min(height_px, width_px / ratio);
}
