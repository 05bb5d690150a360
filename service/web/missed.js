/** Actions that happened without an event: marked in the plot by dragging, or typed, and listed. */

import { actionName } from "./action_names.js";
import { addMissed, getFeedback, removeMissed } from "./api.js";

/** A drag that is shorter than this is a click. */
const MIN_DRAG_S = 0.2;
const element = (id) => document.getElementById(id);

export class MissedActions {
  #sessionId;
  #timeline;
  #clock;
  #onPlay;
  #isStored;
  #found = [];
  #panel = element("missed");
  #from = element("missed-from");
  #to = element("missed-to");
  #dragFrom_s = null;
  #closed = new AbortController();

  /** `clock` is a SessionClock. `onPlay(action)` is called when the user asks to see a missed action. */
  constructor(session, timeline, clock, onPlay) {
    this.#sessionId = session.id;
    this.#isStored = session.source.kind === "upload";
    this.#onPlay = onPlay;
    this.#timeline = timeline;
    this.#clock = clock;
    const options = { signal: this.#closed.signal };
    element("missed-label").replaceChildren(...session.labels.map((label) => new Option(actionName(label), label)));
    element("missed-form").addEventListener("submit", (event) => this.#onSubmit(event), options);
    for (const field of [this.#from, this.#to]) field.addEventListener("input", () => this.#showTimes(), options);
    this.#panel.addEventListener("toggle", () => this.#panel.open || this.#clear(), options);
    const { over } = timeline;
    over.addEventListener("pointerdown", (event) => this.#onDown(event), options);
    over.addEventListener("pointermove", (event) => this.#onMove(event), options);
    over.addEventListener("pointerup", (event) => this.#onUp(event), options);
    over.addEventListener("pointercancel", () => this.#clear(), options);
    this.#say("");
    this.#refresh();
  }

  close() {
    this.#closed.abort();
    this.#panel.open = false;
    element("missed-list").replaceChildren();
  }

  #onDown(event) {
    if (event.button !== 0) return;
    this.#dragFrom_s = this.#timeline.timeAt(event.offsetX);
    this.#timeline.over.setPointerCapture(event.pointerId);
  }

  #onMove(event) {
    if (this.#dragFrom_s !== null) this.#timeline.select(this.#dragFrom_s, this.#timeline.timeAt(event.offsetX));
  }

  #onUp(event) {
    if (this.#dragFrom_s === null) return;
    const [from_s, to_s] = [this.#dragFrom_s, this.#timeline.timeAt(event.offsetX)].sort((one, other) => one - other);
    this.#dragFrom_s = null;
    if (to_s - from_s < MIN_DRAG_S) {
      this.#clear();
      return this.#timeline.seek(from_s);
    }
    // It stays highlighted until the action is added.
    this.#timeline.select(from_s, to_s);
    this.#from.value = from_s.toFixed(1);
    this.#to.value = to_s.toFixed(1);
    this.#panel.open = true;
    this.#showTimes();
    element("missed-label").focus();
  }

  /** Seconds in the video are typed; for a camera, the time of day is shown next to them. */
  #showTimes() {
    const [from_s, to_s] = [this.#from.valueAsNumber, this.#to.valueAsNumber];
    const isShown = this.#clock.zero_ms !== null && from_s >= 0 && to_s >= from_s;
    element("missed-times").textContent = isShown ? `${this.#clock.text(from_s)} to ${this.#clock.text(to_s)}` : "";
  }

  #clear() {
    this.#dragFrom_s = null;
    this.#timeline.select(null, null);
  }

  async #onSubmit(event) {
    event.preventDefault();
    const [start_s, end_s] = [this.#from.valueAsNumber, this.#to.valueAsNumber];
    if (!(start_s >= 0 && end_s >= start_s)) return this.#say("Enter a start in seconds, and an end that is not before it.");
    const missed = { label: element("missed-label").value, start_s, end_s, region: this.#timeline.region };
    try {
      const { clip_problem: problem } = await addMissed(this.#sessionId, missed);
      this.#say(`Added ${actionName(missed.label)} at ${this.#clock.text(start_s)}. ${this.#clipText(problem)}`);
      this.#clear();
    } catch (error) {
      this.#say(error.message);
    }
    await this.#refresh();
  }

  #clipText(problem) {
    if (this.#isStored) return "";
    return problem === null ? "Its clip will be there in a few seconds." : `It has no clip. ${problem}`;
  }

  async #refresh() {
    const { signal } = this.#closed;
    try {
      const { feedback } = await getFeedback(this.#sessionId, signal);
      this.#found = feedback.filter(({ verdict }) => verdict === "missed");
      this.#timeline.markMissed(this.#found);
      this.showList();
    } catch (error) {
      if (!signal.aborted) this.#say(error.message);
    }
  }

  /** Call this when times read otherwise. */
  showList() {
    const items = this.#found.map((each) => {
      const remove = document.createElement("button");
      remove.type = "button";
      remove.className = "quiet";
      remove.textContent = "Remove";
      remove.setAttribute("aria-label", `Remove ${actionName(each.label)} at ${this.#clock.text(each.start_s)}`);
      remove.addEventListener("click", () => this.#remove(each.id));
      const play = document.createElement("button");
      play.type = "button";
      play.className = "link";
      play.textContent = this.#clock.text(each.start_s);
      play.setAttribute("aria-label", `${play.textContent}, play`);
      play.addEventListener("click", () => this.#onPlay({ ...each, start_time: this.#clock.timeAt(each.start_s) }));
      const item = document.createElement("li");
      const where = each.region === null ? "" : ` (${each.region})`;
      item.append(play, ` ${actionName(each.label)}${where} `, remove);
      return item;
    });
    element("missed-list").replaceChildren(...items);
  }

  async #remove(id) {
    try {
      await removeMissed(this.#sessionId, id);
      this.#say("Removed.");
    } catch (error) {
      this.#say(error.message);
    }
    await this.#refresh();
  }

  #say(sentence) {
    element("missed-result").textContent = sentence;
  }
}
