/** A bounded run of a session's scores without gaps: the newest ones while following, or from any time on. */

import { getScores } from "./api.js";

const PAGE_ROWS = 1000;
const MAX_ROWS = 4000;
/** History fetched when following starts; a little more than the plot shows. */
export const KEEP_S = 35;

export class ScoreRun {
  labels;
  pts = [];
  rows = [];
  #id;
  #region;

  /** `labels` are the session's: the columns of the scores. `region` is the name of a region, or null without. */
  constructor(id, labels, region) {
    this.#id = id;
    this.labels = labels;
    this.#region = region;
  }

  get last_s() {
    return this.pts.at(-1) ?? null;
  }

  /** Fetches new scores up to `position_s`; restarts when it is too far behind to catch up page by page. */
  async follow(position_s, signal) {
    const behind = this.last_s === null || position_s - this.last_s > 2 * KEEP_S;
    if (behind) await this.startAt(position_s - KEEP_S, signal);
    else this.#append(await this.#page(this.last_s, signal));
  }

  /** Replaces the run with the page of scores that starts at `from_s`. */
  async startAt(from_s, signal) {
    const page = await this.#page(from_s > 0 ? from_s : null, signal);
    this.pts = [];
    this.rows = [];
    this.#append(page);
  }

  covers(from_s, to_s) {
    return this.pts.length > 0 && this.pts[0] <= from_s + 1 && this.last_s >= to_s - 1;
  }

  #page(after_s, signal) {
    return getScores(this.#id, { after_s, limit: PAGE_ROWS, region: this.#region }, signal);
  }

  #append(page) {
    this.pts.push(...page.pts_s);
    this.rows.push(...page.scores);
    const extra = Math.max(0, this.pts.length - MAX_ROWS);
    this.pts.splice(0, extra);
    this.rows.splice(0, extra);
  }
}
