/** One action in the inbox: its still, its label and place, and the buttons that judge it. */

import { actionName } from "./action_names.js";
import { Problem, getStill } from "./api.js";
import { ago, clock, eventHash, inRegion, percent } from "./format.js";

const WIDTH_PX = 400;
const HEIGHT_PX = 225;
/** What is shown in place of a still; where the action is opened, the API's sentence is. */
const WHY = {
  clip_pending: "Clip follows",
  clip_not_kept: "Clips of this action are off",
  clip_lost: "No clip was stored",
};
/** An event announces the clip; only a request shows that it failed. */
const PENDING_MS = 10_000;

export class InboxItem {
  element = document.createElement("li");
  /** Whether a clip was announced. */
  hasClip = false;
  #start;
  #canvas = document.createElement("canvas");
  #missing = part("p", "missing", "Loading…");
  #age = part("time", "muted");

  /**
   * `start` is the event, `cursor` its place in the log; `margin` is that of its score, `name` that of its session, and
   * `buttons` are those of Verdicts.
   */
  constructor(start, cursor, { margin, name, hue }, buttons) {
    this.#start = start;
    this.cursor = cursor;
    this.margin = margin;
    this.element.dataset.margin = margin;
    this.element.className = "tile inbox-item";
    this.element.style.setProperty("--hue", hue);
    Object.assign(this.#canvas, { width: WIDTH_PX, height: HEIGHT_PX });
    this.#canvas.setAttribute("aria-hidden", "true");
    const still = part("div", "still");
    still.append(this.#canvas, this.#missing);
    const session = part("span", "session-name", name);
    session.title = name;
    const link = document.createElement("a");
    link.href = eventHash(start);
    const label = part("span", "name", `${actionName(start.label)}${inRegion(start)}`);
    link.append(still, label, " ", part("span", "score", percent(start.score)), " ", session);
    this.#age.dateTime = start.start_time ?? start.time;
    this.#age.title = new Date(this.#age.dateTime).toLocaleString();
    const foot = part("div", "verdicts");
    foot.append(this.#age, ...buttons);
    this.element.append(link, foot);
    this.showAge();
  }

  focus() {
    this.element.querySelector("a").focus();
  }

  showAge() {
    const { start_time, start_s, time } = this.#start;
    const text = start_time ? ago(start_time) : `${clock(start_s)} · ${ago(time)}`;
    if (this.#age.textContent !== text) this.#age.textContent = text;
  }

  /** Shows the still, or in a few words why there is none. Resolves to the time in ms after which to try again. */
  async fetchStill(signal) {
    let blob;
    try {
      blob = await getStill(this.#start.session_id, this.#start.id, signal);
    } catch (error) {
      if (!(error instanceof Problem) || ![404, 409, 422].includes(error.status)) throw error;
      this.#missing.textContent = this.#why(error);
      return error.code === "clip_pending" ? PENDING_MS : Infinity;
    }
    const bitmap = await createImageBitmap(blob);
    this.#missing.textContent = "";
    const scale = Math.min(WIDTH_PX / bitmap.width, HEIGHT_PX / bitmap.height);
    const [width, height] = [bitmap.width * scale, bitmap.height * scale];
    const context = this.#canvas.getContext("2d");
    context.drawImage(bitmap, (WIDTH_PX - width) / 2, (HEIGHT_PX - height) / 2, width, height);
    bitmap.close();
    return Infinity;
  }

  #why({ status, code }) {
    return this.hasClip && status === 404 ? "The clip has expired" : (WHY[code] ?? "No still");
  }
}

function part(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}
