/** One distinct hue per label; lightness and chroma are set by the theme in style.css. */

const GOLDEN_ANGLE_DEG = 137.508;

export function hueOf(label, labels) {
  return Math.round((25 + Math.max(0, labels.indexOf(label)) * GOLDEN_ANGLE_DEG) % 360);
}

/** The theme's colours for drawing on a canvas. */
export function readTheme(element) {
  const style = getComputedStyle(element);
  const value = (name) => style.getPropertyValue(name).trim();
  const [lightness, chroma] = [value("--label-lightness"), value("--label-chroma")];
  return {
    text: value("--text"),
    muted: value("--muted"),
    line: value("--line"),
    surface: value("--surface"),
    page: value("--page"),
    accent: value("--accent"),
    font: style.fontFamily,
    label: (hue, alpha = 1) => `oklch(${lightness} ${chroma} ${hue} / ${alpha})`,
  };
}
