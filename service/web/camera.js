/** Pushes this device's camera to a session: recorded in slices and sent over a WebSocket. */

import { Problem, createPush, getSession, streamSocketUrl } from "./api.js";
import { ENDED } from "./event_stream.js";

const WIDTH = 640;
const SLICE_MS = 200;
/** The server accepts messages of up to 64 KiB. */
const MESSAGE_BYTES = 32 * 1024;
/** With more unsent data the connection is too slow: the stream restarts at the current time. */
const MAX_UNSENT_BYTES = 1024 ** 2;
const PAUSE_MS = 1000;
/** The session fails this long after the page was closed, unless the user chose another time. */
const MAX_DOWN_S = 30;
const TYPES = ["video/webm;codecs=vp8", "video/webm", "video/mp4"];
const INSECURE = "Browsers allow camera access only over HTTPS and on localhost. Open this page over HTTPS.";
const CAMERA_ERRORS = {
  NotAllowedError: "Camera access was denied. Allow it for this page and try again.",
  NotFoundError: "No camera was found. Connect one, or choose a video.",
  NotReadableError: "The camera is in use by another program. Close that program and try again.",
};

async function openCamera() {
  if (!navigator.mediaDevices || !window.MediaRecorder) {
    throw new Problem(0, "no_camera", INSECURE);
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: WIDTH } }, audio: false });
  } catch (error) {
    throw new Problem(0, "no_camera", CAMERA_ERRORS[error.name] ?? `The camera could not be started: ${error.message}`);
  }
}

export class CameraPush {
  #media;
  #socket = null;
  #recorder = null;
  #timer = null;
  #stopped = false;
  #onEnded;

  /**
   * Opens the camera and starts a session with it. `source` may have a `max_down_s`. `onEnded()` is called when either
   * has ended.
   */
  static async start(options, source, onEnded) {
    const media = await openCamera();
    try {
      const name = media.getVideoTracks()[0].label || "Camera";
      const session = await createPush({ name, ...options, pace: "realtime" }, source.max_down_s ?? MAX_DOWN_S);
      return new CameraPush(session, media, onEnded);
    } catch (error) {
      for (const track of media.getTracks()) track.stop();
      throw error;
    }
  }

  constructor(session, media, onEnded) {
    this.session = session;
    this.#media = media;
    this.#onEnded = onEnded;
    media.getVideoTracks()[0].addEventListener("ended", () => this.stop());
    this.#connect();
  }

  /** Ends the video; what was recorded is still sent. */
  stop() {
    this.#stopped = true;
    if (this.#recorder?.state === "recording") this.#recorder.stop();
    else this.#end();
  }

  async #connect() {
    try {
      const { state } = await getSession(this.session.id);
      if (ENDED.has(state)) this.#end();
      else this.#open(new WebSocket(await streamSocketUrl(this.session.id)));
    } catch (error) {
      if (error.status === 0) this.#retryLater();
      else this.#end();
    }
  }

  #open(socket) {
    this.#socket = socket;
    socket.onopen = () => (this.#stopped ? this.#end() : this.#record(socket));
    socket.onclose = ({ code }) => {
      const isOver = this.#stopped || code === 1000;
      if (this.#recorder?.state === "recording") this.#recorder.stop();
      if (isOver) this.#end();
      else this.#retryLater();
    };
  }

  #record(socket) {
    const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
    const recorder = new MediaRecorder(this.#media, { mimeType });
    this.#recorder = recorder;
    recorder.ondataavailable = ({ data }) => send(socket, data);
    recorder.onstop = () => this.#stopped && this.#end();
    recorder.start(SLICE_MS);
  }

  #retryLater() {
    if (!this.#stopped) this.#timer = setTimeout(() => this.#connect(), PAUSE_MS);
  }

  #end() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#socket?.close(1000);
    for (const track of this.#media.getTracks()) track.stop();
    this.#onEnded?.();
    this.#onEnded = null;
  }
}

function send(socket, data) {
  if (socket.readyState !== WebSocket.OPEN) return;
  if (socket.bufferedAmount > MAX_UNSENT_BYTES) socket.close(4000, "too slow");
  else for (let at = 0; at < data.size; at += MESSAGE_BYTES) socket.send(data.slice(at, at + MESSAGE_BYTES));
}
