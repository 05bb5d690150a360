/** The uploaded video of a session, played in place of the snapshot. Its clock is the media time of scores and events. */

import { actionName } from "./action_names.js";
import { checkVideo, getVideoSource } from "./api.js";
import { clock } from "./format.js";

const LEAD_S = 1;
const UNPLAYABLE = "This browser cannot play the format of this video.";
const element = (id) => document.getElementById(id);

export class Player {
  #sessionId;
  #onTime;
  #onUnplayable;
  #video = element("video");
  /** Null while the video is not loaded. */
  #expires_ms = null;
  #frame = null;
  #closed = new AbortController();

  /**
   * `onTime(at_s, isChosen)` is called with the media time shown, or null when the player is hidden; `isChosen` says
   * that the user has just started or moved the video. `onUnplayable(sentence)` is called when it cannot be played.
   */
  constructor(sessionId, { onTime, onUnplayable }) {
    this.#sessionId = sessionId;
    this.#onTime = onTime;
    this.#onUnplayable = onUnplayable;
    const options = { signal: this.#closed.signal };
    element("player-close").addEventListener("click", () => this.hide(), options);
    element("player-open").addEventListener("click", () => this.seek(this.#video.currentTime, true), options);
    this.#video.addEventListener("play", () => this.#report(true), options);
    this.#video.addEventListener("seeking", () => this.#report(true), options);
    this.#video.addEventListener("timeupdate", () => this.#report(false), options);
    this.#video.addEventListener("loadedmetadata", () => this.#checkPicture(), options);
    this.#video.addEventListener("error", () => this.#onError(), options);
    this.hide();
  }

  close() {
    this.hide();
    this.#closed.abort();
    cancelAnimationFrame(this.#frame);
    this.#say("");
    element("player-open").hidden = true;
    this.#video.removeAttribute("src");
    this.#video.load();
  }

  /** Shows the video without playing it. */
  async open() {
    this.#show(true);
    if (this.#expires_ms === null) await this.#load();
  }

  /** Plays an action from shortly before its start. */
  async play(action) {
    await this.seek(Math.max(0, action.start_s - LEAD_S), true);
    // The video may belong to another session by now.
    if (this.#closed.signal.aborted) return;
    this.#say(`${actionName(action.label)} at ${clock(action.start_s)}.`);
    // On a narrow screen the events are far below.
    element("player").scrollIntoView({ block: "nearest" });
  }

  /** Shows the video at a media time, and plays on from there if it `plays`, or did before. */
  async seek(at_s, plays = false) {
    await this.open();
    if (this.#expires_ms === null || this.#closed.signal.aborted) return;
    this.#say("");
    this.#video.currentTime = at_s;
    // A browser may block autoplay; the user then starts the video with the controls.
    if (plays) await this.#video.play().catch(() => undefined);
  }

  /** Shows the snapshot again. */
  hide() {
    this.#video.pause();
    this.#show(false);
    this.#onTime(null, false);
  }

  #show(isShown) {
    element("player").hidden = !isShown;
    element("player-open").hidden = isShown;
    element("snapshot").hidden = isShown;
  }

  async #load() {
    const { signal } = this.#closed;
    try {
      const { url, expires_ms } = await getVideoSource(this.#sessionId, signal);
      if (signal.aborted) return;
      this.#expires_ms = expires_ms;
      this.#video.src = url;
    } catch (error) {
      if (!signal.aborted) this.#say(error.message);
    }
  }

  /** Reports the time of each frame that is shown while the video plays. */
  #report(isChosen) {
    cancelAnimationFrame(this.#frame);
    if (element("player").hidden) return;
    this.#onTime(this.#video.currentTime, isChosen);
    if (!this.#video.paused) this.#frame = requestAnimationFrame(() => this.#report(false));
  }

  /** Of a codec that it does not know, a browser may play only the sound. */
  #checkPicture() {
    if (this.#video.videoWidth === 0) this.#onUnplayable(UNPLAYABLE);
  }

  async #onError() {
    if (!this.#video.hasAttribute("src")) return;
    const { signal } = this.#closed;
    const at_s = this.#video.currentTime;
    const hasExpired = this.#expires_ms < Date.now();
    this.#expires_ms = null;
    if (hasExpired) return this.seek(at_s, true);
    try {
      await checkVideo(this.#sessionId, signal);
    } catch (error) {
      if (signal.aborted) return;
      // The server may be back at the next attempt.
      if (error.status === 0) this.#say(error.message);
      else this.#onUnplayable(error.message);
      return;
    }
    this.#onUnplayable(UNPLAYABLE);
  }

  #say(sentence) {
    element("player-status").textContent = sentence;
  }
}
