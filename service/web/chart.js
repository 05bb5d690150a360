/** A uPlot chart that fills its box, with a play-head and a part that is selected. */

/** Defined by the vendored script, which the page loads before its modules. */
const { uPlot } = window;
const NO_LISTENER = () => null;

export class Chart {
  #box;
  #uplot;
  #head = document.createElement("div");
  #head_s = null;
  #selection = null;
  #resize = new ResizeObserver(() => this.#uplot.setSize(sizeOf(this.#box)));

  /** `options` as for uPlot; sizes in CSS pixels. */
  constructor(box, options, data) {
    this.#box = box;
    const hooks = { ...options.hooks, draw: [...(options.hooks.draw ?? []), () => this.#place()] };
    // Drags are those of the page: uPlot's know no touch.
    const bind = { mousedown: NO_LISTENER, mouseup: NO_LISTENER, click: NO_LISTENER, dblclick: NO_LISTENER };
    const cursor = { y: false, points: { show: false }, bind, ...options.cursor };
    this.#uplot = new uPlot({ legend: { show: false }, ...sizeOf(box), ...options, hooks, cursor }, data, box);
    this.#head.className = "head";
    this.over.append(this.#head);
    this.#resize.observe(box);
  }

  close() {
    this.#resize.disconnect();
    this.#uplot.destroy();
  }

  /** The element over the plotted area, which receives the pointer. */
  get over() {
    return this.#uplot.over;
  }

  /** Takes new values: those of x, then those of each series. */
  setData(data) {
    this.#uplot.setData(data, false);
  }

  /** Sets `{ width, alpha }` of a series, from the next drawing on. */
  style(index, style) {
    Object.assign(this.#uplot.series[index + 1], style);
  }

  /** Draws the window [from_s, to_s] with a part that is selected, `[from_s, to_s]` or null. */
  draw(from_s, to_s, selection) {
    this.#selection = selection;
    this.#uplot.setScale("x", { min: from_s, max: to_s });
  }

  /** Marks a media time; null for none. */
  showHead(at_s) {
    this.#head_s = at_s;
    this.#place();
  }

  /** Media time at a horizontal place in `over`; at its edges beyond. */
  timeAt(x_px) {
    return this.#uplot.posToVal(Math.max(0, Math.min(x_px, this.over.clientWidth)), "x");
  }

  #place() {
    const { min, max } = this.#uplot.scales.x;
    this.#head.hidden = this.#head_s === null || !(this.#head_s >= min && this.#head_s <= max);
    if (!this.#head.hidden) this.#head.style.left = `${this.#uplot.valToPos(this.#head_s, "x")}px`;
    const [left, right] = (this.#selection ?? [0, 0]).map((at_s) => this.#uplot.valToPos(at_s, "x"));
    const width = this.#selection === null ? 0 : right - left;
    this.#uplot.setSelect({ left, top: 0, width, height: this.over.clientHeight }, false);
  }
}

/** Passed to drawing hooks: the canvas in CSS pixels, without clipping, and the positions of times and scores in it. */
export function canvasOf(uplot) {
  const { pxRatio } = uPlot;
  const { left, top, width, height } = uplot.bbox;
  const view = {
    from_s: uplot.scales.x.min,
    to_s: uplot.scales.x.max,
    width: uplot.width,
    left: left / pxRatio,
    right: (left + width) / pxRatio,
    top: top / pxRatio,
    bottom: (top + height) / pxRatio,
    x: (pts_s) => left / pxRatio + uplot.valToPos(pts_s, "x"),
    y: (score) => top / pxRatio + uplot.valToPos(score, "y"),
  };
  const draw = (drawing) => {
    const context = uplot.ctx;
    context.save();
    context.setTransform(pxRatio, 0, 0, pxRatio, 0, 0);
    context.textBaseline = "middle";
    drawing(context);
    context.restore();
  };
  return { view, draw };
}

function sizeOf({ clientWidth: width, clientHeight: height }) {
  return { width, height };
}
