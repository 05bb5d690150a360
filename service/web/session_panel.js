/** One session on the page: its state, video or snapshot, scores and events, kept up to date until it is closed. */

import { ActionLog } from "./actions.js";
import { Problem, deleteSession, getSession, retrySession } from "./api.js";
import { ENDED, EventStream } from "./event_stream.js";
import { EventsView } from "./events_view.js";
import { offerExport } from "./export.js";
import { clockName, sourceName } from "./format.js";
import { LiveVideo } from "./live_video.js";
import { MissedActions } from "./missed.js";
import { setTitle } from "./news.js";
import { analysedParts, captionsOf } from "./overlay.js";
import { Playback } from "./playback.js";
import { poll } from "./poll.js";
import { confirmDelete, press } from "./session_buttons.js";
import { SessionClock } from "./session_clock.js";
import { factsOf, zeroOf } from "./session_facts.js";
import { showConnection, showNotice, showPosition } from "./session_status.js";
import { Silence } from "./silence.js";
import { SnapshotView, missingText } from "./snapshot.js";
import { Thresholds } from "./thresholds.js";
import { Timeline } from "./timeline.js";
import { Verdicts } from "./verdicts.js";

const SESSION_MS = 1000;
const SNAPSHOT_MS = 250;
const SCORES_MS = 400;
/** While the live connection brings scores and video. */
const SELDOM_MS = 10_000;
/** When it has brought no scores for this long, the session is asked how it is. */
const QUIET_MS = 2000;
const AGE_MS = 500;
/** Types of events after which the session is fetched. */
const NEWS = new Set(["session.state", "session.gap", "session.changed"]);
const element = (id) => document.getElementById(id);

export class SessionPanel {
  #id;
  #session = null;
  #log = new ActionLog();
  #stream = null;
  #events = null;
  #timeline = null;
  #thresholds = null;
  #verdicts = null;
  #missed = null;
  #polls = [];
  #playback = null;
  #live = null;
  #silence = new Silence();
  #fed_ms = 0;
  #clock = new SessionClock();
  #snapshot = new SnapshotView(element("snapshot"));
  #regions;
  /** The action to show once it is known, or null. */
  #eventId;
  #onChanged;
  #onGone;
  #onRetried;
  #closed = new AbortController();
  #onError = (error) => showNotice([error.message], true);

  /**
   * `regions` is a RegionsEditor, `eventId` the id of an action to show, or null. `onChanged()` is called when the
   * session's state changes, `onGone(message)` when it no longer exists, `onRetried(session)` with the one in its place.
   */
  constructor(id, { eventId, regions, onChanged, onGone, onRetried }) {
    this.#id = id;
    this.#eventId = eventId;
    this.#regions = regions;
    regions.onChange(() => this.#showRegions(), this.#closed.signal);
    this.#onChanged = onChanged;
    this.#onGone = onGone;
    this.#onRetried = onRetried;
    element("stop").addEventListener("click", () => this.#stopOrDelete(), { signal: this.#closed.signal });
    element("retry").addEventListener("click", () => this.#retry(), { signal: this.#closed.signal });
    const often = () => (this.#timeline?.isFed ? SELDOM_MS : SESSION_MS);
    this.#polls.push(poll((signal) => this.#refresh(signal), often, (error) => this.#onPolled(error)));
  }

  close() {
    this.#closed.abort();
    for (const { stop } of this.#polls) stop();
    this.#live?.close();
    this.#stream?.close();
    this.#events?.close();
    this.#timeline?.close();
    this.#thresholds?.close();
    this.#verdicts?.close();
    this.#playback?.close();
    this.#missed?.close();
    this.#snapshot.close();
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
    else if (this.#session === null && error) showNotice([error.message], true);
  }

  #open() {
    const id = this.#id;
    element("session").hidden = false;
    const ended = ENDED.has(this.#session.state);
    const onPlay = (action) => {
      this.#timeline.showAction(action);
      this.#playback.play(action);
    };
    const onSelect = (at_s, region) => {
      this.#timeline.showAround(at_s, region);
      this.#playback.seek(at_s);
    };
    this.#timeline = new Timeline(this.#session, this.#log, this.#clock, {
      onError: this.#onError,
      onSeek: (at_s) => this.#playback.seek(at_s),
      onSelect,
      onAction: (actionId) => this.#events.show(actionId),
    });
    this.#verdicts = new Verdicts(this.#onError);
    this.#playback = new Playback(this.#session, this.#clock, (at_s, isChosen) => this.#timeline.showHead(at_s, isChosen));
    if (ended && this.#session.frames > 0) this.#playback.open();
    this.#events = new EventsView(this.#log, this.#session.labels, {
      verdicts: this.#verdicts,
      clock: this.#clock,
      onShow: onPlay,
      isLive: () => !ENDED.has(this.#session.state),
    });
    offerExport(id, { name: () => sourceName(this.#session), onError: this.#onError }, this.#closed.signal);
    this.#missed = new MissedActions(this.#session, this.#timeline, this.#clock, onPlay);
    this.#thresholds = new Thresholds(this.#session, this.#clock, {
      onTried: (...marks) => this.#timeline.mark(...marks),
      onSelect,
    });
    this.#stream = new EventStream(id, {
      onEvents: (events) => this.#onEvents(events),
      onConnection: showConnection,
    });
    if (ended) return;
    const often = () => (this.#timeline.isFed ? SELDOM_MS : SCORES_MS);
    this.#polls.push(
      poll(() => this.#watchSilence(), AGE_MS),
      poll((signal) => this.#drawSnapshot(signal), SNAPSHOT_MS, undefined, () => !this.#live?.isPlaying),
      poll((signal) => this.#timeline.update(this.#session.position_s, signal), often),
    );
    this.#watch();
  }

  /** Live video in place of snapshots, and scores as they come; both are fetched where that is not possible. */
  #watch() {
    if (!this.#session.links.live) return;
    this.#live = new LiveVideo(this.#id, {
      onFrame: (video, media_s) => this.#showFrame(video, media_s),
      onScores: (scores) => this.#takeScores(scores),
      onPlaying: (isPlaying) => {
        element("snapshot").ariaLabel = isPlaying ? "Live video" : "Latest snapshot of the video";
        if (isPlaying) return;
        this.#timeline.showLiveHead(null);
        this.#polls[2].wake();
      },
      onLost: () => this.#takeScores(null),
      onProblem: (sentence) => (element("unplayable").textContent = sentence),
    });
  }

  #showFrame(video, media_s) {
    this.#snapshot.showFrame(video, captionsOf(this.#log.actions, media_s));
    this.#showMissing();
    this.#timeline.showLiveHead(media_s);
  }

  #takeScores(scores) {
    const wasFed = this.#timeline.isFed;
    this.#timeline.takeScores(scores);
    if (scores !== null) {
      this.#fed_ms = performance.now();
      this.#session.position_s = scores.pts_s.at(-1);
      showPosition(this.#session);
    }
    if (wasFed && !this.#timeline.isFed) for (const { wake } of this.#polls) wake();
  }

  /** When live scores stop to come, the session is fetched often again, and says when its last frame was. */
  #watchSilence() {
    if (this.#timeline.isFed && performance.now() - this.#fed_ms > QUIET_MS) this.#takeScores(null);
    this.#showSilence();
  }

  #showSilence() {
    const shown = element("session-silence");
    if (shown.textContent !== this.#silence.text) shown.textContent = this.#silence.text;
    element("session-state").classList.toggle("silent", this.#silence.text !== "");
  }

  async #drawSnapshot(signal) {
    if (this.#session.frames > 0) await this.#snapshot.update(this.#id, true, signal);
    this.#showMissing();
  }

  #showMissing() {
    const text = this.#snapshot.isEmpty ? missingText(this.#session) : "";
    if (element("snapshot-missing").textContent !== text) element("snapshot-missing").textContent = text;
  }

  /** Regions are drawn on the snapshot, which a video covers. */
  #showRegions() {
    this.#playback?.hide();
    this.#showParts();
  }

  /** While regions are edited, the snapshot shows them; otherwise it shows the analysed parts. */
  #showParts() {
    if (this.#regions.isOpen) this.#snapshot.show(this.#regions.shown);
    else if (this.#session) this.#snapshot.show(analysedParts(this.#session));
  }

  /** Fetches the last snapshot and the last scores, then stops polling. */
  async #finish(signal) {
    await Promise.all([this.#drawSnapshot(signal), this.#timeline.update(this.#session.position_s, signal)]);
    for (const { stop } of this.#polls) stop();
  }

  #onEvents(events) {
    const fresh = this.#log.add(events);
    this.#events.update(fresh);
    this.#timeline.draw();
    if (this.#eventId !== null && this.#events.show(this.#eventId)) this.#eventId = null;
    for (const event of events) if (event.type === "event.media") this.#playback.announce(event);
    if (events.some((event) => NEWS.has(event.type))) this.#polls[0].wake();
  }

  #render() {
    const { state, source, frames, code, detail, warnings } = this.#session;
    const ended = ENDED.has(state);
    const name = sourceName(this.#session);
    Object.assign(element("session-title"), { textContent: name, title: name });
    setTitle(`${name} · CAKE`);
    element("session-facts").textContent = factsOf(this.#session).join(" · ");
    element("session-state").textContent = state;
    element("session-state").dataset.state = state;
    element("panels").hidden = ended && frames === 0;
    element("stop").textContent = ended ? "Delete" : "Stop";
    element("retry").hidden = !ended || source.kind !== "url";
    element("follow").hidden = ended;
    if (this.#clock.setZero(zeroOf(this.#session, this.#clock.zero_ms))) {
      this.#events.showTimes();
      this.#missed.showList();
    }
    const times = clockName(this.#clock.zero_ms !== null);
    element("events-clock").textContent = times;
    element("plot-clock").textContent = `Times: ${times}`;
    this.#silence.update(this.#session);
    this.#showSilence();
    showPosition(this.#session);
    this.#showMissing();
    this.#thresholds.update(this.#session);
    this.#showParts();
    showNotice(code ? [detail ?? code, ...warnings] : warnings, code !== null);
  }

  async #stopOrDelete() {
    if (this.#session === null) return;
    if (ENDED.has(this.#session.state) && !(await confirmDelete("Delete this session?", "its events and its uploaded video"))) return;
    const action = async () => {
      await deleteSession(this.#id);
      if (ENDED.has(this.#session.state)) this.#onGone("");
      else this.#polls[0].wake();
    };
    await press(element("stop"), action, this.#onError);
  }

  /** Submits the same URL again; only the server knows its password. */
  #retry() {
    return press(element("retry"), async () => this.#onRetried(await retrySession(this.#id)), this.#onError);
  }
}
