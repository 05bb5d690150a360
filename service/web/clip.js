/** The clip of an action, played in place of the snapshot. */

import { actionName } from "./action_names.js";
import { getClip } from "./api.js";
import { timeOf } from "./format.js";

const LEAD_S = 1;
const UNPLAYABLE = "This browser cannot play the codec of this video. Download the clip to watch it elsewhere.";
const PENDING = "The clip is still being recorded. It plays here as soon as it is there.";
const element = (id) => document.getElementById(id);

export class ClipView {
  #sessionId;
  #clock;
  #video = element("clip-video");
  #loading = null;
  /** The action whose clip is loading or follows, or null. */
  #awaited = null;
  #url = null;
  #closed = new AbortController();

  /** `clock` is a SessionClock. */
  constructor(sessionId, clock) {
    this.#sessionId = sessionId;
    this.#clock = clock;
    const { signal } = this.#closed;
    element("clip-close").addEventListener("click", () => this.hide(), { signal });
    this.#video.addEventListener("error", () => this.#url && this.#say(UNPLAYABLE), { signal });
    this.hide();
  }

  close() {
    this.hide();
    this.#closed.abort();
  }

  /** Plays the clip of an action from shortly before its start, or says why it cannot. */
  async play(action) {
    this.#loading?.abort();
    this.#loading = new AbortController();
    const { signal } = this.#loading;
    element("clip").hidden = false;
    // On a narrow screen the events are far below.
    element("clip").scrollIntoView({ block: "nearest" });
    this.#forget();
    this.#awaited = action;
    this.#say("Loading the clip…");
    let clip;
    try {
      clip = await getClip(this.#sessionId, action.id, signal);
    } catch (error) {
      if (signal.aborted) return;
      const isPending = error.code === "clip_pending";
      if (!isPending) this.#awaited = null;
      this.#say(isPending ? PENDING : error.message);
      return;
    }
    if (signal.aborted) return;
    this.#awaited = null;
    this.#showVideo(true);
    this.#url = URL.createObjectURL(clip.blob);
    this.#video.src = this.#url;
    this.#video.currentTime = Math.max(0, action.start_s - clip.from_s - LEAD_S);
    const download = element("clip-download");
    download.href = this.#url;
    download.download = `${action.label}-${action.id}.mp4`;
    download.hidden = false;
    const what = `${actionName(action.label)} at ${timeOf(action)}. The clip begins at ${this.#clock.text(clip.from_s)}.`;
    this.#say(action.media?.problem ? `${what} ${action.media.problem}` : what);
    // A browser may block autoplay; the user then starts the clip with the controls.
    await this.#video.play().catch(() => undefined);
  }

  /** Takes the event that announces a clip. */
  announce(media) {
    if (this.#awaited?.id === media.event_id) this.play(this.#awaited);
  }

  /** Shows the snapshot again. */
  hide() {
    this.#loading?.abort();
    this.#forget();
    element("clip").hidden = true;
  }

  /** In place of the snapshot, which is shown while there is nothing to play. */
  #showVideo(isShown) {
    this.#video.hidden = !isShown;
    element("snapshot").hidden = isShown;
    element("clip-close").textContent = isShown ? "Show the latest snapshot" : "Close";
  }

  #say(sentence) {
    element("clip-status").textContent = sentence;
  }

  #forget() {
    this.#awaited = null;
    this.#showVideo(false);
    element("clip-download").hidden = true;
    this.#video.removeAttribute("src");
    this.#video.load();
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = null;
  }
}
