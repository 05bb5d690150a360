/** One session on the page: its state, picture, scores and events, kept up to date until it is closed. */

import { ActionLog } from "./actions.js";
import { Problem, deleteSession, getSession } from "./api.js";
import { ENDED, EventStream } from "./event_stream.js";
import { EventsView } from "./events_view.js";
import { clock, moment, sourceName } from "./format.js";
import { clearPicture, drawPicture } from "./picture.js";
import { WINDOW_S } from "./plot.js";
import { poll } from "./poll.js";
import { Timeline } from "./timeline.js";

const SESSION_MS = 1000;
const PICTURE_MS = 250;
const SCORES_MS = 400;
const CONNECTIONS = {
  connecting: "Connecting…",
  live: "Live",
  lost: "Connection lost, trying again…",
  ended: "",
};
const element = (id) => document.getElementById(id);

export class SessionPanel {
  #id;
  #session = null;
  #log = new ActionLog();
  #stream = null;
  #events = null;
  #timeline = null;
  #polls = [];
  #onChanged;
  #onGone;
  #closed = new AbortController();

  /** `onChanged()` is called when the session's state changes, `onGone(message)` when there is no such session. */
  constructor(id, { onChanged, onGone }) {
    this.#id = id;
    this.#onChanged = onChanged;
    this.#onGone = onGone;
    clearPicture(element("picture"));
    element("stop").addEventListener("click", () => this.#stopOrDelete(), { signal: this.#closed.signal });
    this.#polls.push(poll((signal) => this.#refresh(signal), SESSION_MS, (error) => this.#onPolled(error)));
  }

  close() {
    this.#closed.abort();
    for (const { stop } of this.#polls) stop();
    this.#stream?.close();
    this.#events?.close();
    this.#timeline?.close();
  }

  async #refresh(signal) {
    const before = this.#session?.state;
    this.#session = await getSession(this.#id, signal);
    if (signal.aborted) return;
    if (before === undefined) this.#open();
    this.#render();
    if (before !== this.#session.state) this.#onChanged();
    if (ENDED.has(this.#session.state)) await this.#finish(signal);
  }

  #onPolled(error) {
    if (error instanceof Problem && error.status === 404) this.#onGone(error.message);
    else if (this.#session === null && error) this.#showNotice([error.message], true);
  }

  #open() {
    const id = this.#id;
    element("session").hidden = false;
    this.#timeline = new Timeline(this.#session, this.#log, (error) => this.#showNotice([error.message], true));
    this.#events = new EventsView(this.#log, this.#session.labels, (action) =>
      this.#timeline.show(action.start_s + WINDOW_S / 2),
    );
    this.#stream = new EventStream(id, {
      onEvents: (events) => this.#onEvents(events),
      onConnection: (state, why) => this.#showConnection(state, why),
    });
    if (ENDED.has(this.#session.state)) return;
    this.#polls.push(
      poll((signal) => this.#drawPicture(signal), PICTURE_MS),
      poll((signal) => this.#timeline.update(this.#session.position_s, signal), SCORES_MS),
    );
  }

  async #drawPicture(signal) {
    if (this.#session.frames > 0) await drawPicture(element("picture"), this.#id, signal);
  }

  /** The last picture and the last scores, then no polling any more. */
  async #finish(signal) {
    await Promise.all([this.#drawPicture(signal), this.#timeline.update(this.#session.position_s, signal)]);
    for (const { stop } of this.#polls) stop();
  }

  #onEvents(events) {
    this.#events.update(this.#log.add(events));
    this.#timeline.draw();
    if (events.some((event) => event.type === "session.state")) this.#polls[0].wake();
  }

  #render() {
    const { state, model, pace, video, created_at, position_s, frames, code, detail, warnings } = this.#session;
    const ended = ENDED.has(state);
    element("session-title").textContent = sourceName(this.#session);
    document.title = `${sourceName(this.#session)} · CAKE`;
    const facts = [moment(created_at), model, pace === "realtime" ? "real time" : "fast"];
    if (video) {
      facts.push(`${video.width}×${video.height}`, video.codec);
      if (video.rate_hz) facts.push(`${Number(video.rate_hz.toFixed(2))} fps`);
    }
    element("session-facts").textContent = facts.join(" · ");
    element("session-state").textContent = state;
    element("session-state").dataset.state = state;
    element("panels").hidden = ended && frames === 0;
    element("stop").textContent = ended ? "Delete" : "Stop";
    const duration_s = video?.duration_s ?? null;
    const progress = element("position");
    if (duration_s) progress.value = ended && state === "completed" ? 1 : Math.min(1, position_s / duration_s);
    progress.hidden = !duration_s;
    const whole = duration_s ? ` / ${clock(duration_s)}` : "";
    element("position-text").textContent = clock(position_s) + whole;
    this.#showNotice(code ? [detail ?? code, ...warnings] : warnings, code !== null);
  }

  #showNotice(sentences, isError) {
    const notice = element("notice");
    notice.hidden = sentences.length === 0;
    notice.classList.toggle("bad", isError);
    const text = sentences.join("\n");
    if (notice.textContent !== text) notice.textContent = text;
  }

  #showConnection(state, why) {
    const shown = element("connection");
    shown.textContent = why ?? CONNECTIONS[state];
    shown.dataset.connection = state;
  }

  async #stopOrDelete() {
    const button = element("stop");
    if (button.getAttribute("aria-disabled") === "true" || this.#session === null) return;
    if (ENDED.has(this.#session.state) && !(await confirmDelete())) return;
    button.setAttribute("aria-disabled", "true");
    try {
      await deleteSession(this.#id);
    } catch (error) {
      this.#showNotice([error.message], true);
      return;
    } finally {
      button.removeAttribute("aria-disabled");
    }
    if (ENDED.has(this.#session.state)) this.#onGone("");
    else this.#polls[0].wake();
  }
}

function confirmDelete() {
  const dialog = element("delete-dialog");
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "delete"), { once: true });
  });
}
