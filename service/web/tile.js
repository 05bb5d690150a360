/** One session on the wall: its latest snapshot, name and state, and its last action. */

import { actionName } from "./action_names.js";
import { hueOf } from "./colours.js";
import { ago, inRegion, sourceName } from "./format.js";
import { Silence } from "./silence.js";
import { SnapshotView, missingText } from "./snapshot.js";

export class Tile {
  element = document.createElement("li");
  /** The canvas of the snapshot. */
  still = document.createElement("canvas");
  #session;
  #silence = new Silence();
  #link = document.createElement("a");
  #snapshot = new SnapshotView(this.still);
  #missing = document.createElement("span");
  #parts = {};

  constructor(session) {
    this.update(session);
    this.#link.href = `#session=${encodeURIComponent(session.id)}`;
    const picture = document.createElement("span");
    picture.className = "picture";
    picture.setAttribute("aria-hidden", "true");
    this.#missing.className = "missing";
    picture.append(this.still, this.#missing);
    this.#link.append(picture);
    for (const part of ["name", "state", "action"]) {
      this.#parts[part] = document.createElement("span");
      this.#parts[part].className = part;
      this.#link.append(this.#parts[part], " ");
    }
    this.element.className = "tile";
    this.element.append(this.#link);
  }

  get session() {
    return this.#session;
  }

  /** Takes the session as it was just fetched. */
  update(session) {
    this.#session = session;
    this.#silence.update(session);
  }

  get name() {
    return sourceName(this.session);
  }

  /** Of width to height of its image; null without one. */
  get ratio() {
    return this.#snapshot.isEmpty ? null : this.still.width / this.still.height;
  }

  focus() {
    this.#link.focus({ preventScroll: true });
  }

  /** `watch` as in getSnapshot. */
  async fetchStill(watch, signal) {
    await this.#snapshot.update(this.session.id, watch, signal);
    this.#showMissing();
  }

  #showMissing() {
    setText(this.#missing, this.#snapshot.isEmpty ? missingText(this.session) : "");
  }

  /** `last` is the event with which the last action started, if known; `on` those of actions that are on. */
  show(last, on) {
    const { state, code, labels } = this.session;
    this.#showMissing();
    setText(this.#parts.name, this.name);
    this.#parts.name.title = this.name;
    const silence = this.#silence.text;
    setText(this.#parts.state, code ? `${state}: ${code.replaceAll("_", " ")}` : silence || state);
    this.#parts.state.classList.toggle("silent", silence !== "");
    this.#parts.state.dataset.state = state;
    setText(this.#parts.action, on.length > 0 ? on.map(nameOf).join(", ") : last ? `${nameOf(last)} ${ago(last.time)}` : "");
    this.element.classList.toggle("on", on.length > 0);
    this.element.classList.toggle("failed", state === "failed");
    const shown = on.at(-1) ?? last;
    if (shown) this.element.style.setProperty("--hue", hueOf(shown.label, labels));
  }

  close() {
    this.#snapshot.close();
    this.element.remove();
  }
}

const nameOf = (start) => actionName(start.label) + inRegion(start);

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
