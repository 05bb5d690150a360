/** How long a live source has sent no frame, though its session runs. */

import { serverNow_ms } from "./server_clock.js";

/** Workers report about once per second. */
const SILENT_MS = 3000;

export class Silence {
  #lastFrame_ms = null;

  /** Takes a session that was just fetched. */
  update({ state, video, last_frame_at: at }) {
    const isSilent = state === "running" && video?.live && at && serverNow_ms() - Date.parse(at) > SILENT_MS;
    this.#lastFrame_ms = isSilent ? Date.parse(at) : null;
  }

  /** `last frame 5 s ago`, or "" while frames come. */
  get text() {
    if (this.#lastFrame_ms === null) return "";
    const passed_s = Math.floor((serverNow_ms() - this.#lastFrame_ms) / 1000);
    return `last frame ${passed_s < 60 ? `${passed_s} s` : `${Math.floor(passed_s / 60)} min`} ago`;
  }
}
