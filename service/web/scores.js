/** A run of a session's scores, without holes, bounded: the newest while it is followed, or from any moment on. */

import { getScores } from "./api.js";

const PAGE_ROWS = 1000;
const MAX_ROWS = 4000;
/** Kept before the newest frame when following starts; a little more than the plot shows. */
export const KEEP_S = 35;

export class ScoreRun {
  labels;
  pts = [];
  rows = [];
  #id;

  /** `labels` are the session's: the columns of the scores. */
  constructor(id, labels) {
    this.#id = id;
    this.labels = labels;
  }

  get last_s() {
    return this.pts.at(-1) ?? null;
  }

  /** Fetches what is new up to `position_s`; starts anew when it is too far behind to catch up page by page. */
  async follow(position_s, signal) {
    const behind = this.last_s === null || position_s - this.last_s > 2 * KEEP_S;
    if (behind) await this.startAt(position_s - KEEP_S, signal);
    else this.#append(await getScores(this.#id, { after_s: this.last_s, limit: PAGE_ROWS }, signal));
  }

  /** Replaces the run by the page of scores that begins at `from_s`. */
  async startAt(from_s, signal) {
    const page = await getScores(this.#id, { after_s: from_s > 0 ? from_s : null, limit: PAGE_ROWS }, signal);
    this.pts = [];
    this.rows = [];
    this.#append(page);
  }

  covers(from_s, to_s) {
    return this.pts.length > 0 && this.pts[0] <= from_s + 1 && this.last_s >= to_s - 1;
  }

  #append(page) {
    this.pts.push(...page.pts_s);
    this.rows.push(...page.scores);
    const extra = Math.max(0, this.pts.length - MAX_ROWS);
    this.pts.splice(0, extra);
    this.rows.splice(0, extra);
  }
}
