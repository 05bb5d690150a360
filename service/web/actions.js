/** What a session's events say: actions with their start and end, and what happened to the session. */

/** Older entries are let go beyond this many. */
const MAX_ENTRIES = 20_000;

/**
 * An entry is `{ kind: "action", id, label, score, start_s, decided_s, end_s | null, latency_s }`, or
 * `{ kind: "state" | "gap", id, decided_s, … }` as in the event.
 */
export class ActionLog {
  entries = [];
  #open = new Map();

  /** Takes events in the order of their ids; returns the entries that are new. */
  add(events) {
    const fresh = [];
    for (const event of events) {
      if (event.type === "action.start") fresh.push(this.#start(event));
      else if (event.type === "action.end") this.#end(event, fresh);
      else fresh.push({ ...event, kind: event.type === "session.gap" ? "gap" : "state" });
    }
    this.entries.push(...fresh);
    this.entries.splice(0, this.entries.length - MAX_ENTRIES);
    return fresh;
  }

  get actions() {
    return this.entries.filter((entry) => entry.kind === "action");
  }

  #start(event) {
    const entry = { ...event, kind: "action", end_s: null };
    this.#open.set(event.label, entry);
    return entry;
  }

  #end(event, fresh) {
    const entry = this.#open.get(event.label);
    this.#open.delete(event.label);
    if (entry) entry.end_s = event.end_s;
    else fresh.push({ ...event, kind: "action" });
  }
}
