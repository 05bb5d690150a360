/** A bounded run of a session's scores without gaps: the newest ones while following, or from any time on. */

import { getScores } from "./api.js";

const PAGE_ROWS = 1000;
const MAX_ROWS = 4000;
/** Frames further apart than this are not connected by a line. */
const GAP_S = 1;

export class ScoreRun {
  labels;
  pts = [];
  rows = [];
  #id;
  #region;
  #bin_s;
  #keep_s;

  /**
   * `labels` are the session's: the columns of the scores. `region` is the name of a region, or null without. `bin_s`:
   * the run holds the highest scores of parts of this length; null: those of each frame. `keep_s` is the history that
   * is fetched when following starts.
   */
  constructor(id, labels, region, { bin_s, keep_s }) {
    this.#id = id;
    this.labels = labels;
    this.#region = region;
    this.#bin_s = bin_s;
    this.#keep_s = keep_s;
  }

  get last_s() {
    return this.pts.at(-1) ?? null;
  }

  /** Fetches new scores up to `position_s`; restarts when it is too far behind to catch up page by page. */
  async follow(position_s, signal) {
    const behind = this.last_s === null || position_s - this.last_s > 2 * this.#keep_s;
    if (behind) await this.startAt(position_s - this.#keep_s, signal);
    else this.#append(await this.#page(this.last_s, signal));
  }

  /** Takes live scores in the order of their times, `{ after_s, pts_s, scores }`; false if some before are missing. */
  join({ after_s, pts_s, scores }) {
    if (this.#bin_s !== null || this.last_s === null || after_s > this.last_s) return false;
    const first = pts_s.findIndex((each) => each > this.last_s);
    if (first >= 0) this.#append({ pts_s: pts_s.slice(first), scores: scores.slice(first) });
    return true;
  }

  /** Replaces the run with the page of scores that starts at `from_s`. */
  async startAt(from_s, signal) {
    const page = await this.#page(from_s > 0 ? from_s : null, signal);
    this.pts = [];
    this.rows = [];
    this.#append(page);
  }

  /** Points further apart than this are not connected by a line. */
  get gap_s() {
    return this.#bin_s === null ? GAP_S : 2.5 * this.#bin_s + GAP_S;
  }

  covers(from_s, to_s) {
    return this.pts.length > 0 && this.pts[0] <= from_s + this.gap_s && this.last_s >= to_s - this.gap_s;
  }

  #page(after_s, signal) {
    return getScores(this.#id, { after_s, limit: PAGE_ROWS, region: this.#region, bin_s: this.#bin_s }, signal);
  }

  #append(page) {
    this.pts.push(...page.pts_s);
    this.rows.push(...page.scores);
    const extra = Math.max(0, this.pts.length - MAX_ROWS);
    this.pts.splice(0, extra);
    this.rows.splice(0, extra);
  }
}
