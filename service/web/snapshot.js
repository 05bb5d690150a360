/** The latest snapshot of a session, or the frame that its video shows, drawn on a canvas, so that it never flickers. */

import { getSnapshot } from "./api.js";

const SHADE = "rgb(0 0 0 / 0.6)";
const OUTLINE = "rgb(255 255 255 / 0.9)";
const NAME_SHADE = "rgb(0 0 0 / 0.7)";
/** Frames of a video are drawn no wider. */
const MAX_WIDTH_PX = 1280;

const NO_FRAME = {
  queued: "Waiting for a worker…",
  starting: "Opening the video…",
  running: "Waiting for the first frame…",
  reconnecting: "Connecting again…",
};

/** Texts shown until the first snapshot of a session. */
export function missingText({ state, frames }) {
  return frames > 0 ? "Loading…" : (NO_FRAME[state] ?? "No frame");
}

/** A canvas with the latest snapshot of one session. Parts that the detector does not see are shaded. */
export class SnapshotView {
  #canvas;
  /** The image that is drawn, with its `width` and `height`; null for none. */
  #bitmap = null;
  #parts = [];
  #captions = [];

  constructor(canvas) {
    this.#canvas = canvas;
    canvas.width = 640;
    canvas.height = 360;
  }

  /** Whether nothing is shown yet. */
  get isEmpty() {
    return this.#bitmap === null;
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
    this.close();
    this.#bitmap = bitmap;
    this.#captions = [];
    this.draw();
  }

  /** Draws the frame that a video shows, with captions: texts for the whole frame, or for a part with this name. */
  showFrame(video, captions) {
    const scale = Math.min(1, MAX_WIDTH_PX / video.videoWidth);
    const [width, height] = [Math.round(video.videoWidth * scale), Math.round(video.videoHeight * scale)];
    if (!(this.#bitmap instanceof HTMLCanvasElement)) {
      this.close();
      this.#bitmap = document.createElement("canvas");
    }
    if (this.#bitmap.width !== width || this.#bitmap.height !== height) Object.assign(this.#bitmap, { width, height });
    this.#bitmap.getContext("2d").drawImage(video, 0, 0, width, height);
    this.#captions = captions;
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
    for (const { part, text } of this.#captions) {
      const of = this.#parts.find(({ name }) => name && name === part) ?? { x: 0, y: 0, width: 1, height: 1 };
      caption(context, of, text, canvas);
    }
  }

  close() {
    this.#bitmap?.close?.();
    this.#bitmap = null;
  }
}

/** Shades the area outside all parts, which may overlap. */
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
  write(context, part.name, x, y, textSize(canvas));
}

/** Writes in the lower left corner of a part. */
function caption(context, part, text, canvas) {
  const [x, y, , height] = pixels(part, canvas);
  const size = textSize(canvas);
  write(context, text, x, y + height - size * 1.5, size);
}

/** Large enough to be read where the canvas is shown smaller than it is. */
function textSize(canvas) {
  const shownSmaller = canvas.clientWidth > 0 ? canvas.width / canvas.clientWidth : 1;
  return Math.round(Math.max(11, 12 * shownSmaller, canvas.height / 22));
}

function write(context, text, x, y, size) {
  context.font = `${size}px system-ui, sans-serif`;
  context.textBaseline = "top";
  context.textAlign = "left";
  context.fillStyle = NAME_SHADE;
  context.fillRect(x, y, context.measureText(text).width + size, size * 1.5);
  context.fillStyle = OUTLINE;
  context.fillText(text, x + size / 2, y + size / 4);
}

function pixels({ x, y, width, height }, canvas) {
  return [x * canvas.width, y * canvas.height, width * canvas.width, height * canvas.height];
}
