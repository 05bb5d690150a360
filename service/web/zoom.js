/** Zooms the plot: with two buttons, and with the wheel while Ctrl is held, as which browsers report a pinch on a touchpad. */

const STEP = 2;
const WHEEL_STEP = 1.25;
const element = (id) => document.getElementById(id);

/** `onZoom(factor, at_s)` is called with how much longer the part becomes, around a media time, or null for its middle. */
export function offerZoom(plot, onZoom, signal) {
  element("zoom-in").addEventListener("click", () => onZoom(1 / STEP, null), { signal });
  element("zoom-out").addEventListener("click", () => onZoom(STEP, null), { signal });
  const onWheel = (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    onZoom(event.deltaY > 0 ? WHEEL_STEP : 1 / WHEEL_STEP, plot.timeAt(event.offsetX));
  };
  plot.over.addEventListener("wheel", onWheel, { signal, passive: false });
}
