/** Prepares a canvas for a drawing in CSS pixels. */

/** The canvas's context, cleared, in CSS pixels; null while the canvas has no size. */
export function fitted(canvas, theme) {
  const box = canvas.getBoundingClientRect();
  if (box.width === 0) return null;
  const scale = window.devicePixelRatio;
  const [width, height] = [Math.round(box.width * scale), Math.round(box.height * scale)];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, box.width, box.height);
  context.font = `12px ${theme.font}`;
  context.textBaseline = "middle";
  context.lineJoin = "round";
  return context;
}
