/** The buttons that download the events of a session as a file. */

import { exportEvents } from "./api.js";

const SUFFIXES = { csv: "csv", jsonl: "jsonl", activitynet: "json", webvtt: "vtt" };

/** `name()` is that of the session; `onError(problem)` is called when it failed. Works until `signal` aborts. */
export function offerExport(sessionId, { name, onError }, signal) {
  document.getElementById("export").addEventListener("click", async ({ target }) => {
    const { format } = target.dataset;
    if (!format) return;
    try {
      const file = await exportEvents(sessionId, format, signal);
      download(file, `${name().replaceAll(/[^\p{L}\p{N}.-]+/gu, "-")}.${SUFFIXES[format]}`);
    } catch (error) {
      if (!signal.aborted) onError(error);
    }
  }, { signal });
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The download has begun by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
