/** The list of sessions in pages, live ones first, else the newest; the newest page is kept up to date. */

import { actionName } from "./action_names.js";
import { Problem, listEvents, listSessions } from "./api.js";
import { ENDED } from "./event_stream.js";
import { ago, clock, moment, sourceName } from "./format.js";
import { hasKey } from "./key.js";
import { listLive } from "./live_sessions.js";
import { poll } from "./poll.js";
import { Selection } from "./selection.js";
import { matches } from "./session_filter.js";
import { SnapshotView } from "./snapshot.js";
import { STILL_MS, Stills } from "./stills.js";
import { Unseen } from "./unseen.js";

const PAGE = 20;
const SEARCHED_PAGE = 200;
const REFRESH_MS = 3000;
const MAX_STARTS = 200;
const NO_SESSIONS = "No sessions yet.";
const NO_MATCH = "No session matches the filter.";
const NO_KEY = "Enter an API key to see sessions.";
const isLive = ({ state }) => !ENDED.has(state);
const hasStill = (session) => isLive(session) && session.frames > 0;
const element = (id) => document.getElementById(id);

export class SessionsList {
  #sessions = [];
  #isFetched = false;
  #next = null;
  #selected = null;
  #items = new Map();
  #starts = new Map();
  #snapshots = new Map();
  #stills = new Stills();
  #selection = new Selection({ onChanged: () => this.#render(), onDeleted: (id) => this.#onDeleted(id) });
  #unseen;
  #tellDeleted;
  #poll;

  /**
   * `feed` is a LogFeed. `onRefresh(sessions)` is called with the newest sessions each time that they were fetched. They are not fetched
   * unless `isShown()`. `onDeleted(id)` is called for each session that was deleted in the list.
   */
  constructor(feed, { onRefresh, onDeleted, isShown }) {
    this.#tellDeleted = onDeleted;
    this.#unseen = new Unseen(feed, () => this.#render());
    const task = async (signal) => {
      await this.#refresh(signal);
      onRefresh(this.#sessions);
    };
    const onError = (error) => {
      const text = error?.status === 401 && !hasKey() ? NO_KEY : (error?.message ?? "");
      if (element("sessions-error").textContent !== text) element("sessions-error").textContent = text;
    };
    this.#poll = poll(task, REFRESH_MS, onError, isShown);
    element("sessions-more").addEventListener("click", () => this.#loadMore());
    element("sessions-filter").addEventListener("input", () => this.#render());
  }

  refresh() {
    this.#poll.wake();
  }

  select(id) {
    this.#selected = id;
    this.#unseen.show(id);
    this.#render();
  }

  /** Removes a session immediately, without waiting for the next refresh. */
  remove(id) {
    this.#sessions = this.#sessions.filter((session) => session.id !== id);
    this.#render();
  }

  async #refresh(signal) {
    const page = await listSessions({ limit: PAGE }, signal);
    if (page.next) page.sessions = await this.#withLive(page.sessions, signal);
    if (page.sessions.some(isLive)) await this.#refreshStarts(signal);
    const listed = new Set(page.sessions.map((session) => session.id));
    const oldest = page.sessions[Math.min(PAGE, page.sessions.length) - 1]?.created_at ?? "";
    const isOlder = ({ id, created_at }) => !listed.has(id) && created_at <= oldest;
    const older = page.next ? this.#sessions.filter(isOlder) : [];
    if (older.length === 0) this.#next = page.next;
    this.#sessions = [...page.sessions, ...older];
    this.#isFetched = true;
    this.#render();
  }

  /** Adds live sessions that are on later pages. */
  async #withLive(newest, signal) {
    const listed = new Set(newest.map(({ id }) => id));
    return [...newest, ...(await listLive(signal)).filter(({ id }) => !listed.has(id))];
  }

  /** The last action of each session, as far as it is among the newest of all. */
  async #refreshStarts(signal) {
    try {
      const { entries } = await listEvents({ type: "action.start", limit: MAX_STARTS }, signal);
      for (const { event } of entries.toReversed()) this.#starts.set(event.session_id, event);
    } catch (error) {
      // A key may list sessions without reading events.
      if (!(error instanceof Problem && error.status === 403)) throw error;
    }
  }

  async #drawStill(id, signal) {
    const session = this.#sessions.find((each) => each.id === id);
    if (!session || !hasStill(session)) return 0;
    await this.#snapshots.get(id).update(id, false, signal);
    return STILL_MS;
  }

  /** Reads an older page; while the list is filtered, pages until one has a match. */
  async #loadMore() {
    const text = element("sessions-filter").value;
    try {
      let isFound = false;
      while (!isFound && this.#next !== null) {
        const page = await listSessions({ limit: text === "" ? PAGE : SEARCHED_PAGE, before: this.#next });
        this.#next = page.next;
        const listed = new Set(this.#sessions.map(({ id }) => id));
        const older = page.sessions.filter(({ id }) => !listed.has(id));
        this.#sessions.push(...older);
        isFound = text === "" || older.some((session) => matches(session, text));
      }
      this.#render();
    } catch (error) {
      element("sessions-error").textContent = error.message;
    }
  }

  #onDeleted(id) {
    this.remove(id);
    this.#tellDeleted(id);
  }

  #render() {
    const filter = element("sessions-filter");
    const shown = this.#sessions.filter((session) => matches(session, filter.value));
    this.#removeExcept(new Set(shown.map((session) => session.id)));
    const list = element("sessions");
    const liveFirst = shown.toSorted((one, other) => isLive(other) - isLive(one));
    this.#selection.show(liveFirst);
    liveFirst.forEach((session, place) => {
      if (!this.#items.has(session.id)) this.#add(session);
      const item = this.#items.get(session.id);
      this.#selection.fill(item.firstChild, session);
      fillItem(item, session, session.id === this.#selected, this.#starts.get(session.id));
      fillBadge(item.lastChild.lastChild, this.#unseen.of(session.id));
      if (list.children[place] !== item) list.insertBefore(item, list.children[place] ?? null);
    });
    filter.hidden = this.#sessions.length === 0;
    element("sessions-none").hidden = !this.#isFetched || shown.length > 0;
    element("sessions-none").textContent = this.#sessions.length > 0 ? NO_MATCH : NO_SESSIONS;
    element("sessions-more").hidden = this.#next === null;
    element("sessions-more").textContent = filter.value === "" ? "Show older sessions" : "Search older sessions";
  }

  #removeExcept(wanted) {
    for (const [id, item] of this.#items) {
      if (wanted.has(id)) continue;
      this.#stills.remove(item);
      this.#snapshots.get(id).close();
      this.#snapshots.delete(id);
      item.remove();
      this.#items.delete(id);
    }
  }

  #add(session) {
    const still = document.createElement("canvas");
    const item = newItem(session, still, this.#selection.newBox(session));
    this.#items.set(session.id, item);
    this.#snapshots.set(session.id, new SnapshotView(still));
    this.#stills.add(item, (signal) => this.#drawStill(session.id, signal));
  }
}

function newItem(session, still, box) {
  const item = document.createElement("li");
  const link = document.createElement("a");
  still.className = "still";
  still.setAttribute("aria-hidden", "true");
  link.href = `#session=${encodeURIComponent(session.id)}`;
  const [name, state, facts, badge] = ["name", "state", "facts", "badge"].map((part) => {
    const span = document.createElement("span");
    span.className = part;
    return span;
  });
  name.textContent = sourceName(session);
  name.title = name.textContent;
  link.append(still, name, " ", state, " ", facts, " ", badge);
  item.append(box, link);
  return item;
}

/** `unseen`: how many actions have started since the user last looked. */
function fillBadge(badge, unseen) {
  badge.hidden = unseen === 0;
  badge.textContent = unseen === 0 ? "" : `${unseen > 99 ? "99+" : unseen} new`;
  badge.title = unseen === 1 ? "1 action since you last looked" : `${unseen} actions since you last looked`;
}

/** `start` is the event with which its last action started, if that is known. */
function fillItem(item, session, selected, start) {
  const link = item.lastChild;
  if (selected) link.setAttribute("aria-current", "true");
  else link.removeAttribute("aria-current");
  const [still, , state, facts] = link.children;
  still.hidden = !hasStill(session);
  link.classList.toggle("live", !still.hidden);
  const text = session.code ? `${session.state}: ${session.code.replaceAll("_", " ")}` : session.state;
  if (state.textContent !== text) state.textContent = text;
  state.dataset.state = session.state;
  const position = session.position_s > 0 ? [`${clock(session.position_s)} of video`] : [];
  const last = isLive(session) && start ? [`${actionName(start.label)} ${ago(start.time)}`] : [...position, moment(session.created_at)];
  facts.textContent = ["", ...last].join(" · ");
}
