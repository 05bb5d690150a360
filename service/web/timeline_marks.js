/** What is marked on the plot of a session, beside the scores. */

import { NearMisses } from "./near_misses.js";
import { PlotLegend } from "./plot_legend.js";

export class TimelineMarks {
  /** Near misses and the threshold `{ label, score }` of an action, by `rules`; null for none. */
  nearMisses = null;
  threshold = null;
  rules;
  /** Actions that people report as missed. */
  missed = [];
  /** The selected part, `[from_s, to_s]` in media time; null for none. */
  selection = null;
  /** The id of the highlighted action; null for none. */
  current = null;
  #log;
  #list;
  #legend;

  /** `onSelect(at_s, region)` is called when the user selects a near miss, `onAction(id)` when they select an action. */
  constructor(session, log, clock, { onSelect, onAction }) {
    this.rules = session.start_rules;
    this.#log = log;
    this.#list = new NearMisses(clock, onSelect);
    this.#legend = new PlotLegend(session.labels, onAction);
  }

  close() {
    this.#list.close();
    this.#legend.close();
  }

  /**
   * Names the actions and near misses of a region between two media times, and returns all marks to draw there.
   * `position_s` is the media time analysed so far, at which actions that still last end.
   */
  show(region, { from_s, to_s, position_s }) {
    const isHere = (mark) => (mark.region ?? null) === region;
    const actions = this.#log.actions.filter(isHere);
    const nearMisses = this.nearMisses?.filter(isHere) ?? null;
    this.#list.show(nearMisses, from_s, to_s);
    const end_s = (action) => action.end_s ?? Math.max(action.decided_s, position_s);
    this.#legend.show(actions.filter((action) => end_s(action) >= from_s && action.start_s <= to_s));
    return {
      actions,
      nearMisses: nearMisses ?? [],
      missed: this.missed.filter(isHere),
      threshold: this.threshold,
      rules: this.rules,
      selection: this.selection,
      current: this.current,
    };
  }
}
