/** Live video and scores of a session, over one WebSocket; none while the page is hidden. */

import { liveSocketUrl } from "./api.js";
import { GrowingVideo, isPlayable } from "./growing_video.js";
import { LastingSocket } from "./lasting_socket.js";

/** A video that shows nothing new for this long has stopped, or does not play. */
const STALLED_MS = 5000;
const CHECK_MS = 1000;
const UNPLAYABLE = "This browser does not play this camera's video. Snapshots are shown in its place.";
const element = (id) => document.getElementById(id);

export class LiveVideo {
  #id;
  #on;
  #video = element("live-video");
  #socket = null;
  #growing = null;
  #wantsVideo = true;
  #began_ms = null;
  #shown_ms = -Infinity;
  #isPlaying = false;
  #timer;
  #closed = new AbortController();

  /**
   * `onFrame(video, media_s)` is called for each frame that the video element shows, `onScores(message)` with the
   * newest scores, `onPlaying(isPlaying)` when the video begins and when it stalls, `onLost()` when the connection is
   * lost, `onProblem(sentence)` when there is no video, and with "" when there is again.
   */
  constructor(id, on) {
    this.#id = id;
    this.#on = on;
    document.addEventListener("visibilitychange", () => this.#follow(), { signal: this.#closed.signal });
    this.#timer = setInterval(() => this.#check(), CHECK_MS);
    this.#follow();
  }

  close() {
    this.#closed.abort();
    clearInterval(this.#timer);
    this.#disconnect();
  }

  get isPlaying() {
    return this.#isPlaying;
  }

  #follow() {
    if (document.hidden) this.#disconnect();
    else if (this.#socket === null) this.#connect();
  }

  #connect() {
    this.#socket = new LastingSocket(() => liveSocketUrl(this.#id, this.#wantsVideo), {
      onMessage: (message) => this.#onMessage(message),
      onBinary: (data) => this.#growing?.append(data),
      onConnection: (state) => state !== "live" && this.#onLost(),
    });
  }

  #disconnect() {
    this.#socket?.close();
    this.#socket = null;
    this.#onLost();
  }

  #onLost() {
    this.#end();
    this.#on.onLost();
  }

  #onMessage(message) {
    if (message.type === "scores") this.#on.onScores(message);
    else if (message.type === "video.began") this.#begin(message.media_type);
    else if (message.type === "video.clock") this.#growing?.setClock(message);
    else if (message.type === "video.unavailable") this.#giveUp(message.reason);
  }

  #begin(mediaType) {
    this.#growing?.close();
    this.#growing = null;
    if (!isPlayable(mediaType)) {
      this.#giveUp(UNPLAYABLE);
      return;
    }
    this.#began_ms = performance.now();
    this.#growing = new GrowingVideo(this.#video, mediaType, (media_s) => this.#onFrame(media_s));
  }

  #onFrame(media_s) {
    this.#shown_ms = performance.now();
    this.#setPlaying(true);
    this.#on.onFrame(this.#video, media_s);
  }

  #check() {
    const now_ms = performance.now();
    if (this.#isPlaying && now_ms - this.#shown_ms > STALLED_MS) this.#setPlaying(false);
    const hasPlayed = this.#shown_ms > this.#began_ms;
    if (this.#growing && !hasPlayed && now_ms - this.#began_ms > STALLED_MS) this.#giveUp(UNPLAYABLE);
  }

  /** Scores continue without video. */
  #giveUp(why) {
    this.#end();
    this.#on.onProblem(why);
    if (!this.#wantsVideo) return;
    this.#wantsVideo = false;
    this.#socket?.close();
    this.#connect();
  }

  #end() {
    this.#growing?.close();
    this.#growing = null;
    this.#setPlaying(false);
  }

  #setPlaying(isPlaying) {
    if (this.#isPlaying === isPlaying) return;
    this.#isPlaying = isPlaying;
    this.#on.onPlaying(isPlaying);
    if (isPlaying) this.#on.onProblem("");
  }
}
