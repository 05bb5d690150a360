/** The live picture: drawn on a canvas once it is decoded, so that it never flickers. */

import { getSnapshot } from "./api.js";

/** Draws the session's newest picture; leaves the canvas as it is while there is none. */
export async function drawPicture(canvas, sessionId, signal) {
  const blob = await getSnapshot(sessionId, signal);
  if (blob === null) return;
  const bitmap = await createImageBitmap(blob);
  if (!signal.aborted) {
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
  }
  bitmap.close();
}

export function clearPicture(canvas) {
  canvas.width = 640;
  canvas.height = 360;
}
