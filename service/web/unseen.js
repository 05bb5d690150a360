/** Of each session, how many actions have started since the user last looked at it. */

/** Of the sessions with the oldest actions, the counts are dropped. */
const MAX_SESSIONS = 500;

export class Unseen {
  #counts = new Map();
  #shown = null;

  /** `feed` is a LogFeed. `onChanged()` is called when a count has changed. */
  constructor(feed, onChanged) {
    feed.listen(({ event }) => {
      if (event.type !== "action.start" || this.#isSeen(event.session_id)) return;
      const count = this.of(event.session_id) + 1;
      this.#counts.delete(event.session_id);
      this.#counts.set(event.session_id, count);
      if (this.#counts.size > MAX_SESSIONS) this.#counts.delete(this.#counts.keys().next().value);
      onChanged();
    });
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.#counts.delete(this.#shown)) onChanged();
    });
  }

  of(sessionId) {
    return this.#counts.get(sessionId) ?? 0;
  }

  /** The user looks at this session now; null for none. */
  show(sessionId) {
    this.#shown = sessionId;
    this.#counts.delete(sessionId);
  }

  #isSeen(sessionId) {
    return sessionId === this.#shown && !document.hidden;
  }
}
