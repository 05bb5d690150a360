/** A session's events as a list of actions, with their start and end, and of state changes and gaps. */

/** Older entries beyond this number are dropped. */
const MAX_ENTRIES = 20_000;

/**
 * An entry is `{ kind: "action", id, region, label, score, start_s, decided_s, end_s | null, latency_s, media | null }`,
 * or `{ kind: "state" | "gap", id, decided_s, … }` as in the event. `media` is the event that announced the clip.
 */
export class ActionLog {
  entries = [];
  #open = new Map();

  /** Takes events in the order of their ids; returns the entries that are new. */
  add(events) {
    const fresh = [];
    const media = [];
    for (const event of events) {
      if (event.type === "action.start") fresh.push(this.#start(event));
      else if (event.type === "action.end") this.#end(event, fresh);
      else if (event.type === "event.media") media.push(event);
      else fresh.push({ ...event, kind: event.type === "session.gap" ? "gap" : "state" });
    }
    this.entries.push(...fresh);
    for (const event of media) this.#media(event);
    this.entries.splice(0, this.entries.length - MAX_ENTRIES);
    return fresh;
  }

  get actions() {
    return this.entries.filter((entry) => entry.kind === "action");
  }

  #start(event) {
    const entry = { ...event, kind: "action", end_s: null, media: null };
    this.#open.set(placeOf(event), entry);
    return entry;
  }

  #media(event) {
    const entry = this.entries.findLast(({ id }) => id === event.event_id);
    if (entry) entry.media = event;
  }

  #end(event, fresh) {
    const entry = this.#open.get(placeOf(event));
    this.#open.delete(placeOf(event));
    if (entry) entry.end_s = event.end_s;
    else fresh.push({ ...event, kind: "action", media: null });
  }
}

/** In each region one action of a label is in progress at a time. */
export function placeOf({ region, label }) {
  return JSON.stringify([region ?? null, label]);
}
