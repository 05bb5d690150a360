/** The list of sessions, newest first, in pages; the newest page is kept up to date. */

import { listSessions } from "./api.js";
import { clock, moment, sourceName } from "./format.js";
import { poll } from "./poll.js";

const PAGE = 20;
const REFRESH_MS = 3000;
const element = (id) => document.getElementById(id);

export class SessionsList {
  #sessions = [];
  #next = null;
  #selected = null;
  #items = new Map();
  #poll;

  /** `onRefresh(sessions)` is called with the newest sessions each time that they were fetched. */
  constructor({ onRefresh }) {
    const task = async (signal) => {
      await this.#refresh(signal);
      onRefresh(this.#sessions);
    };
    this.#poll = poll(task, REFRESH_MS, (error) => {
      const text = error?.message ?? "";
      if (element("sessions-error").textContent !== text) element("sessions-error").textContent = text;
    });
    element("sessions-more").addEventListener("click", () => this.#loadMore());
  }

  refresh() {
    this.#poll.wake();
  }

  select(id) {
    this.#selected = id;
    this.#render();
  }

  /** Removes a session at once, without waiting for the next refresh. */
  remove(id) {
    this.#sessions = this.#sessions.filter((session) => session.id !== id);
    this.#render();
  }

  async #refresh(signal) {
    const page = await listSessions({ limit: PAGE }, signal);
    const listed = new Set(page.sessions.map((session) => session.id));
    const oldest = page.sessions.at(-1)?.created_at ?? "";
    const isOlder = ({ id, created_at }) => !listed.has(id) && created_at <= oldest;
    const older = page.next ? this.#sessions.filter(isOlder) : [];
    if (older.length === 0) this.#next = page.next;
    this.#sessions = [...page.sessions, ...older];
    this.#render();
  }

  async #loadMore() {
    try {
      const page = await listSessions({ limit: PAGE, before: this.#next });
      this.#next = page.next;
      this.#sessions.push(...page.sessions);
      this.#render();
    } catch (error) {
      element("sessions-error").textContent = error.message;
    }
  }

  #render() {
    const list = element("sessions");
    const wanted = new Set(this.#sessions.map((session) => session.id));
    for (const [id, item] of this.#items) {
      if (wanted.has(id)) continue;
      item.remove();
      this.#items.delete(id);
    }
    this.#sessions.forEach((session, place) => {
      if (!this.#items.has(session.id)) this.#items.set(session.id, newItem(session));
      const item = this.#items.get(session.id);
      fillItem(item, session, session.id === this.#selected);
      if (list.children[place] !== item) list.insertBefore(item, list.children[place] ?? null);
    });
    element("sessions-none").hidden = this.#sessions.length > 0;
    element("sessions-more").hidden = this.#next === null;
  }
}

function newItem(session) {
  const item = document.createElement("li");
  const link = document.createElement("a");
  link.href = `#session=${encodeURIComponent(session.id)}`;
  const [name, state, facts] = ["name", "state", "facts"].map((part) => {
    const span = document.createElement("span");
    span.className = part;
    return span;
  });
  name.textContent = sourceName(session);
  name.title = name.textContent;
  link.append(name, " ", state, " ", facts);
  item.append(link);
  return item;
}

function fillItem(item, session, selected) {
  const link = item.firstChild;
  if (selected) link.setAttribute("aria-current", "true");
  else link.removeAttribute("aria-current");
  const [, state, facts] = link.children;
  const text = session.code ? `${session.state}: ${session.code.replaceAll("_", " ")}` : session.state;
  if (state.textContent !== text) state.textContent = text;
  state.dataset.state = session.state;
  const position = session.position_s > 0 ? [clock(session.position_s)] : [];
  facts.textContent = ["", ...position, moment(session.created_at)].join(" · ");
}
