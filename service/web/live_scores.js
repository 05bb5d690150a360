/** Live scores of a session, kept until those before them were fetched. */

const KEEP_ROWS = 1000;

export class LiveScores {
  /** Of each region: `{ after_s, pts_s, scores }`, without gaps. */
  #kept = new Map();

  /** Takes a message of the live connection. */
  add({ after_s, pts_s, regions }) {
    for (const { region, scores } of regions) {
      const kept = this.#kept.get(region);
      if (kept === undefined || kept.pts_s.at(-1) !== after_s || kept.pts_s.length > KEEP_ROWS) {
        this.#kept.set(region, { after_s, pts_s: [...pts_s], scores: [...scores] });
      } else {
        kept.pts_s.push(...pts_s);
        kept.scores.push(...scores);
      }
    }
  }

  /** Adds them to a ScoreRun of a region; false if scores between are missing. */
  feed(run, region) {
    const kept = this.#kept.get(region);
    if (kept === undefined || !run.join(kept)) return false;
    this.#kept.set(region, { after_s: kept.pts_s.at(-1), pts_s: [], scores: [] });
    return true;
  }
}
