/** The panel in which a user tries another threshold on the scores of a session, and keeps it for the session. */

import { actionName } from "./action_names.js";
import { changeSession, tryRules } from "./api.js";
import { ENDED } from "./event_stream.js";
import { percent, percentBelow, tenths } from "./format.js";

/** Scores of this time before the last frame are decided again: each move of the slider takes the server a moment. */
const TRIED_S = 3600;
/** While the panel of a live session is closed, its newest near misses are marked. */
const BRIEF_S = 120;
/** A live session is tried again after this much media time. */
const AGAIN_S = 5;
const MAX_LISTED = 8;
const REASONS = {
  below_enter: ({ enter }) => `below the threshold of ${percent(enter)}`,
  too_short: ({ min_duration_s }) => `shorter than ${tenths(min_duration_s)}`,
  refractory: ({ refractory_s }) => `less than ${tenths(refractory_s)} after the previous one`,
};
const element = (id) => document.getElementById(id);

export class Thresholds {
  #session;
  #onTried;
  #onSelect;
  #clock;
  #panel = element("thresholds");
  #label = element("threshold-label");
  #slider = element("threshold");
  #isUntouched = true;
  /** Percents that the user moved the slider to, by label. */
  #moved = new Map();
  #running = false;
  #stale = false;
  #triedUpTo_s = -Infinity;
  #closed = new AbortController();

  /**
   * `onTried(nearMisses, threshold, rules)` is called with what to mark in the plot, and the rules that were tried;
   * `onSelect(at_s, region)` when the user selects a near miss or a start. `clock` is a SessionClock.
   */
  constructor(session, clock, { onTried, onSelect }) {
    this.#clock = clock;
    this.#session = session;
    this.#onTried = onTried;
    this.#onSelect = onSelect;
    const options = { signal: this.#closed.signal };
    this.#panel.addEventListener("toggle", () => this.#onToggle(), options);
    this.#label.addEventListener("change", () => this.#onTouched(() => this.#reset()), options);
    this.#slider.addEventListener("input", () => this.#onTouched(() => this.#move()), options);
    element("threshold-keep").addEventListener("click", () => this.#keep(this.#rule(this.#label.value)), options);
    element("threshold-reset").addEventListener("click", () => this.#keep(null), options);
    this.#offerLabels();
  }

  close() {
    this.#closed.abort();
    this.#panel.open = false;
  }

  /** Takes the session's newest state. */
  update(session) {
    const before = this.#session;
    this.#session = session;
    // The worker puts rules in force a moment after they have changed.
    const rulesOf = ({ rules, start_rules }) => JSON.stringify([rules, start_rules]);
    const changed = rulesOf(session) !== rulesOf(before);
    if (Object.keys(session.start_rules).join() !== Object.keys(before.start_rules).join()) this.#offerLabels();
    element("threshold-actions").hidden = ENDED.has(session.state);
    element("threshold-ended").hidden = !ENDED.has(session.state);
    if (changed) this.#forgetChanged(before.start_rules);
    if (changed) this.#reset();
    else if (session.position_s >= this.#triedUpTo_s + AGAIN_S) this.#try();
  }

  /** The rules in force are known once a worker has the session. */
  #offerLabels() {
    const chosen = this.#label.value;
    const labels = Object.keys(this.#session.start_rules);
    this.#label.replaceChildren(...labels.map((label) => new Option(actionName(label), label)));
    if (labels.includes(chosen)) this.#label.value = chosen;
    this.#panel.hidden = labels.length === 0;
    this.#reset();
  }

  #onToggle() {
    this.#try();
  }

  #onTouched(action) {
    this.#isUntouched = false;
    action();
  }

  #move() {
    this.#moved.set(this.#label.value, Number(this.#slider.value));
    this.#try();
  }

  /** A changed rule is shown in place of the one that was tried before. */
  #forgetChanged(before) {
    const now = this.#session.start_rules;
    for (const label of this.#moved.keys()) {
      if (JSON.stringify(now[label]) !== JSON.stringify(before[label])) this.#moved.delete(label);
    }
  }

  /** Begins with the action that came nearest to a start. Returns whether that is another one than shown. */
  #suggest(misses) {
    this.#isUntouched = false;
    const [highest] = misses.toSorted((one, other) => other.peak - one.peak);
    if (highest === undefined || highest.label === this.#label.value) return false;
    this.#label.value = highest.label;
    this.#reset();
    return true;
  }

  /** Shows the threshold that the user tries, or else the one in force. */
  #reset() {
    const rule = this.#session.start_rules[this.#label.value];
    if (rule === undefined) return;
    this.#slider.value = this.#moved.get(this.#label.value) ?? Math.round(rule.enter * 100);
    element("threshold-reset").disabled = !(this.#label.value in this.#session.rules);
    this.#try();
  }

  /** The rule with the threshold to try. The lower threshold, at which an action ends, moves with it. */
  #rule(label) {
    const rule = this.#session.start_rules[label];
    const moved = this.#moved.get(label);
    // A slider has whole percents; a threshold that was not moved stays as exact as it is.
    if (moved === undefined || Math.round(rule.enter * 100) === moved) return rule;
    const chosen = moved / 100;
    return { ...rule, enter: chosen, leave: Math.min(chosen, rule.leave * (chosen / rule.enter)) };
  }

  /** Tries the threshold on the server. One request at a time: a slider moves faster than the server decides. */
  async #try() {
    element("threshold-value").textContent = `${this.#slider.value}%`;
    this.#slider.setAttribute("aria-valuetext", `${this.#slider.value}%`);
    if (this.#panel.hidden || this.#session.frames === 0) return;
    if (this.#running) {
      this.#stale = true;
      return;
    }
    this.#running = true;
    const { signal } = this.#closed;
    try {
      do {
        this.#stale = false;
        await this.#tryOnce(signal);
      } while (this.#stale && !signal.aborted);
    } catch (error) {
      if (!signal.aborted) element("threshold-result").textContent = error.message;
    } finally {
      this.#running = false;
    }
  }

  async #tryOnce(signal) {
    const label = this.#label.value;
    const { position_s, state } = this.#session;
    const isOpen = this.#panel.open;
    const labels = [label, ...this.#moved.keys()];
    const rules = isOpen ? Object.fromEntries(labels.map((each) => [each, this.#rule(each)])) : {};
    const tried_s = isOpen || ENDED.has(state) ? TRIED_S : BRIEF_S;
    const after_s = position_s > tried_s ? position_s - tried_s : null;
    const tried = await tryRules(this.#session.id, { rules, after_s }, signal);
    if (signal.aborted) return;
    this.#triedUpTo_s = position_s;
    for (const miss of tried.near_misses) {
      const rule = tried.start_rules[miss.label];
      miss.why = REASONS[miss.reason](rule);
      miss.score = percentBelow(miss.peak, rule.enter);
    }
    if (!isOpen) return this.#onTried(tried.near_misses, null, tried.start_rules);
    if (this.#isUntouched && this.#suggest(tried.near_misses)) return;
    this.#show(tried, label);
  }

  #show(tried, label) {
    const of = (found) => found.filter((each) => each.label === label);
    const [starts, added, removed] = [of(tried.starts), of(tried.added), of(tried.removed)];
    const sentence = resultOf(starts.length, added.length, removed.length);
    if (element("threshold-result").textContent !== sentence) element("threshold-result").textContent = sentence;
    this.#listChanges(added, removed);
    this.#listMisses(tried.near_misses);
    this.#onTried(tried.near_misses, { label, score: tried.start_rules[label].enter }, tried.start_rules);
  }

  /** The newest starts that this threshold adds to the published ones, and those that it takes away. */
  #listChanges(added, removed) {
    const changes = [...added.map((start) => [start, "new"]), ...removed.map((start) => [start, "missing"])];
    const newest = changes.toSorted(([one], [other]) => other.start_s - one.start_s).slice(0, MAX_LISTED);
    const items = newest.map(([{ start_s, region }, what]) => this.#item(start_s, region ?? null, `${what}${whereOf(region)}`));
    element("threshold-changes").replaceChildren(...items);
  }

  /** The newest near misses of all actions, each with the reason why it was no start. */
  #listMisses(misses) {
    const items = misses.slice(-MAX_LISTED).reverse().map(({ peak_s, region, label, score, why }) => {
      return this.#item(peak_s, region, `${actionName(label)}${whereOf(region)} ${score}: ${why}`);
    });
    element("near-misses-title").hidden = items.length === 0;
    element("near-misses").replaceChildren(...items);
  }

  /** A time, which is shown in the plot when selected, and what happened then. */
  #item(at_s, region, text) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "link";
    button.textContent = this.#clock.text(at_s);
    button.setAttribute("aria-label", `Show ${button.textContent}`);
    button.addEventListener("click", () => this.#onSelect(at_s, region));
    const item = document.createElement("li");
    item.append(button, ` ${text}`);
    return item;
  }

  /** Keeps a rule for this session, or returns to the model's. */
  async #keep(rule) {
    const label = this.#label.value;
    const { [label]: _, ...others } = this.#session.rules;
    const rules = rule === null ? others : { ...others, [label]: rule };
    try {
      await changeSession(this.#session.id, { rules });
      this.#moved.delete(label);
      element("threshold-result").textContent = rule === null ? "Back to the model's threshold." : "Kept for this session.";
    } catch (error) {
      element("threshold-result").textContent = error.message;
    }
  }
}

const whereOf = (region) => (region ? ` (${region})` : "");
const countOf = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** How many starts a threshold finds, and how these differ from the published ones. */
function resultOf(starts, added, removed) {
  if (added + removed === 0) return `${countOf(starts, "start")}, as published.`;
  const changes = [
    added > 0 ? `${added} new` : "",
    removed > 0 ? `${removed} that ${removed === 1 ? "was published is" : "were published are"} missing` : "",
  ];
  return `${countOf(starts, "start")} with this threshold: ${changes.filter(Boolean).join(", ")}.`;
}
