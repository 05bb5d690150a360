/** An MP4 that grows while it is played, always near its end. */

/** How far behind its end the video is played: fragments do not come evenly. */
const TARGET_S = 0.4;
/** Further behind it plays faster, and much further behind it jumps. */
const SLOW_S = 0.9;
const MAX_BEHIND_S = 2.5;
const HURRY = 1.1;
const KEEP_S = 10;
const Source = globalThis.ManagedMediaSource ?? globalThis.MediaSource;

/** Whether this browser plays a growing MP4 of this type. */
export const isPlayable = (mediaType) => Source?.isTypeSupported(mediaType) ?? false;

export class GrowingVideo {
  #video;
  #onFrame;
  #source = new Source();
  #buffer = null;
  #queue = [];
  /** `{ at_s, media_s }`: from which time of the MP4 on which media time is shown. */
  #clocks = [];
  #frame = null;
  #closed = new AbortController();

  /** `onFrame(media_s)` is called for each frame that `video` shows; the time is null until it is known. */
  constructor(video, mediaType, onFrame) {
    this.#video = video;
    this.#onFrame = onFrame;
    const options = { signal: this.#closed.signal };
    video.disableRemotePlayback = true;
    video.src = URL.createObjectURL(this.#source);
    this.#source.addEventListener("sourceopen", () => this.#open(mediaType), options);
    this.#awaitFrame();
  }

  close() {
    this.#closed.abort();
    if (this.#video.requestVideoFrameCallback) this.#video.cancelVideoFrameCallback(this.#frame);
    else cancelAnimationFrame(this.#frame);
    URL.revokeObjectURL(this.#video.src);
    this.#video.removeAttribute("src");
    this.#video.load();
  }

  /** Takes the next part of the MP4. */
  append(data) {
    this.#queue.push(data);
    this.#pump();
  }

  setClock(clock) {
    this.#clocks.push(clock);
    // Entries for the part that was already played are not needed.
    while (this.#clocks.length > 1 && this.#clocks[1].at_s < this.#video.currentTime - KEEP_S) this.#clocks.shift();
  }

  #open(mediaType) {
    URL.revokeObjectURL(this.#video.src);
    this.#buffer = this.#source.addSourceBuffer(mediaType);
    this.#buffer.addEventListener("updateend", () => this.#onAppended(), { signal: this.#closed.signal });
    this.#pump();
  }

  #pump() {
    if (this.#buffer === null || this.#buffer.updating || this.#source.readyState !== "open") return;
    const { buffered } = this.#buffer;
    const old_s = this.#video.currentTime - KEEP_S;
    if (buffered.length > 0 && buffered.start(0) < old_s - KEEP_S) this.#buffer.remove(0, old_s);
    else if (this.#queue.length > 0) this.#buffer.appendBuffer(this.#queue.shift());
  }

  #onAppended() {
    this.#keepUp();
    this.#pump();
  }

  #keepUp() {
    const { buffered } = this.#buffer;
    if (buffered.length === 0) return;
    const begin_s = buffered.start(buffered.length - 1);
    const end_s = buffered.end(buffered.length - 1);
    const behind_s = end_s - this.#video.currentTime;
    // In front of it something was missed.
    if (this.#video.currentTime < begin_s || behind_s > MAX_BEHIND_S) {
      this.#video.currentTime = Math.max(begin_s, end_s - TARGET_S);
    }
    this.#video.playbackRate = behind_s > SLOW_S ? HURRY : 1;
    if (this.#video.paused) this.#video.play().catch(() => undefined);
  }

  #awaitFrame() {
    if (this.#video.requestVideoFrameCallback) {
      this.#frame = this.#video.requestVideoFrameCallback((_, { mediaTime }) => this.#shown(mediaTime));
    } else {
      this.#frame = requestAnimationFrame(() => this.#shown(this.#video.currentTime));
    }
  }

  #shown(at_s) {
    if (this.#closed.signal.aborted) return;
    const clock = this.#clocks.findLast((each) => each.at_s <= at_s + 0.001) ?? this.#clocks[0];
    if (this.#video.videoWidth > 0) this.#onFrame(clock ? clock.media_s + at_s - clock.at_s : null);
    this.#awaitFrame();
  }
}
