/** The latest snapshot of a session, drawn on a canvas once it is decoded, so that it never flickers. */

import { getSnapshot } from "./api.js";

const SHADE = "rgb(0 0 0 / 0.6)";
const OUTLINE = "rgb(255 255 255 / 0.9)";
const NAME_SHADE = "rgb(0 0 0 / 0.7)";

/** A canvas with the latest snapshot of one session. What the detector does not see is shaded. */
export class SnapshotView {
  #canvas;
  #bitmap = null;
  #parts = [];

  constructor(canvas) {
    this.#canvas = canvas;
    canvas.width = 640;
    canvas.height = 360;
  }

  /** Fetches and draws the latest snapshot; leaves the canvas unchanged while there is none. `watch` as in getSnapshot. */
  async update(sessionId, watch, signal) {
    const blob = await getSnapshot(sessionId, watch, signal);
    if (blob === null) return;
    const bitmap = await createImageBitmap(blob);
    if (signal.aborted) {
      bitmap.close();
      return;
    }
    this.#bitmap?.close();
    this.#bitmap = bitmap;
    this.draw();
  }

  /**
   * `parts` are what is analysed: rectangles in fractions of the frame, `{ x, y, width, height, name }`. Those with a
   * name are outlined. Without parts nothing is shaded.
   */
  show(parts) {
    this.#parts = parts;
    this.draw();
  }

  draw() {
    const canvas = this.#canvas;
    const context = canvas.getContext("2d");
    if (this.#bitmap === null) {
      context.clearRect(0, 0, canvas.width, canvas.height);
    } else {
      const { width, height } = this.#bitmap;
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      context.drawImage(this.#bitmap, 0, 0);
    }
    if (this.#parts.length > 0) shadeOutside(context, this.#parts, canvas);
    for (const part of this.#parts) if (part.name) outline(context, part, canvas);
  }

  close() {
    this.#bitmap?.close();
    this.#bitmap = null;
  }
}

/** Shades what lies in none of the parts, which may overlap. */
function shadeOutside(context, parts, canvas) {
  context.save();
  for (const part of parts) {
    const outside = new Path2D();
    outside.rect(0, 0, canvas.width, canvas.height);
    outside.rect(...pixels(part, canvas));
    context.clip(outside, "evenodd");
  }
  context.fillStyle = SHADE;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.restore();
}

function outline(context, part, canvas) {
  const [x, y, width, height] = pixels(part, canvas);
  const line = Math.max(1, canvas.width / 400);
  context.strokeStyle = OUTLINE;
  context.lineWidth = line;
  context.strokeRect(x + line / 2, y + line / 2, width - line, height - line);
  const size = Math.max(11, Math.round(canvas.height / 22));
  context.font = `${size}px system-ui, sans-serif`;
  context.textBaseline = "top";
  context.textAlign = "left";
  context.fillStyle = NAME_SHADE;
  context.fillRect(x, y, context.measureText(part.name).width + size, size * 1.5);
  context.fillStyle = OUTLINE;
  context.fillText(part.name, x + size / 2, y + size / 4);
}

function pixels({ x, y, width, height }, canvas) {
  return [x * canvas.width, y * canvas.height, width * canvas.width, height * canvas.height];
}
