/** The actions of all sessions with their stills, newest or most uncertain first: to view, judge and open. */

import { actionName } from "./action_names.js";
import { Announcer } from "./announcer.js";
import { listEvents } from "./api.js";
import { inRegion } from "./format.js";
import { columnsOf, nextByKey } from "./grid_keys.js";
import { InboxFilter } from "./inbox_filter.js";
import { InboxItem } from "./inbox_item.js";
import { inLanes } from "./lanes.js";
import { setTitle } from "./news.js";
import { poll } from "./poll.js";
import { Stills } from "./stills.js";
import { Verdicts, judgeByKey } from "./verdicts.js";

/** Number of events; about half of them announce stored clips. */
const PAGE = 100;
/** A search ends with this many actions, or after this many pages. */
const WANTED = 24;
const MAX_PAGES = 10;
/** With more items the oldest are left out again: there is a page for them. */
const MAX_ITEMS = 500;
const RETRY_MS = 5000;
const AGES_MS = 1000;
const element = (id) => document.getElementById(id);

export class Inbox {
  #feed;
  #filter;
  /** Items by `keyOf`, and those events by the same key that announced their clips. */
  #items = new Map();
  #media = new Map();
  /** Where the next page begins; null after the last. */
  #next = null;
  #stills = new Stills();
  #verdicts = new Verdicts((error) => say(error.message));
  #announcer = new Announcer(element("inbox-announcer"));
  #ages = poll(() => this.#showAges(), AGES_MS);
  #search = null;
  #searched = new AbortController();
  #closed = new AbortController();

  /** `feed` is a LogFeed. */
  constructor(feed) {
    this.#feed = feed;
    this.#filter = new InboxFilter(() => this.#restart(), this.#closed.signal);
    const options = { signal: this.#closed.signal };
    element("inbox-more").addEventListener("click", () => this.#show(), options);
    element("inbox-list").addEventListener("focusin", (event) => this.#remember(event.target), options);
    document.addEventListener("keydown", (event) => this.#onKey(event), options);
    setTitle("Actions · CAKE");
    this.#restart();
  }

  close() {
    this.#closed.abort();
    this.#clear();
    this.#ages.stop();
    this.#stills.close();
    this.#verdicts.close();
    this.#announcer.close();
  }

  #clear() {
    this.#search?.stop();
    this.#searched.abort();
    for (const key of this.#items.keys()) this.#remove(key);
    this.#media.clear();
    this.#next = null;
    element("inbox-none").hidden = true;
    element("inbox-more").hidden = true;
  }

  #restart() {
    this.#clear();
    this.#searched = new AbortController();
    const { signal } = this.#searched;
    const begin = async () => {
      await this.#filter.load(signal);
      element("inbox-list").ariaLabel = `Actions, ${this.#filter.isDoubtfulFirst ? "most uncertain" : "newest"} first`;
      let first = null;
      const onPage = (page) => (first = page);
      const onEntry = (entry) => this.#onEntry(entry);
      await this.#feed.follow({ ...this.#filter.query, limit: PAGE }, { onPage, onEntry }, signal);
      this.#search.stop();
      await this.#show(first);
    };
    this.#search = poll(begin, RETRY_MS, (error) => say(error?.message ?? ""));
  }

  /** Shows the page, or else the next one, and more of them until enough was found. */
  async #show(page = null) {
    const { signal } = this.#searched;
    // Doubtful ones are looked for among many.
    const wanted = this.#items.size + (this.#filter.isDoubtfulFirst ? MAX_ITEMS : WANTED);
    element("inbox-more").hidden = true;
    try {
      for (let pages = 0; pages < MAX_PAGES && this.#items.size < wanted; pages += 1) {
        await this.#append(page ?? (await this.#nextPage(signal)), signal);
        if (signal.aborted || this.#next === null) break;
        page = null;
      }
      say("");
    } catch (error) {
      if (!signal.aborted) say(error.message);
    }
    if (signal.aborted) return;
    element("inbox-more").hidden = this.#next === null;
    element("inbox-none").hidden = this.#items.size > 0;
    const item = this.#items.get(history.state?.item);
    if (item && isOutside(document.activeElement)) item.focus();
  }

  #nextPage(signal) {
    return listEvents({ ...this.#filter.query, limit: PAGE, before: this.#next }, signal);
  }

  async #append({ entries, next }, signal) {
    const starts = entries.filter(({ event }) => event.type === "action.start");
    const sessions = new Set(starts.map(({ event }) => event.session_id));
    await inLanes(sessions, (id) => this.#verdicts.load(id));
    if (signal.aborted) return;
    for (const { event } of entries) if (event.type === "event.media") this.#onMedia(event);
    for (const entry of starts) {
      if (!this.#filter.unjudgedOnly || this.#verdicts.given(entry.event) === undefined) this.#add(entry, false);
    }
    this.#next = next;
  }

  /** An event that has just been committed. */
  #onEntry(entry) {
    const { event } = entry;
    if (event.type === "event.media") this.#onMedia(event);
    if (event.type !== "action.start" || !this.#filter.passes(event)) return;
    this.#add(entry, true);
    element("inbox-none").hidden = true;
    this.#announcer.add([`${actionName(event.label)}${inRegion(event)}: ${this.#filter.nameOf(event)}`]);
    if (this.#items.size > MAX_ITEMS) this.#dropLast();
  }

  #onMedia(media) {
    const key = keyOf(media.session_id, media.event_id);
    this.#media.set(key, media);
    const item = this.#items.get(key);
    if (item === undefined) return;
    item.hasClip = true;
    this.#stills.hurry(item.element);
  }

  #add({ cursor, event }, isNewest) {
    const key = keyOf(event.session_id, event.id);
    if (this.#items.has(key)) return;
    const margin = this.#filter.marginOf(event);
    const look = { margin, name: this.#filter.nameOf(event), hue: this.#filter.hueOf(event) };
    const item = new InboxItem(event, cursor, look, this.#verdicts.buttons(event));
    item.hasClip = this.#media.has(key);
    this.#items.set(key, item);
    this.#place(item, isNewest);
    this.#stills.add(item.element, (signal) => item.fetchStill(signal));
  }

  #place(item, isNewest) {
    const list = element("inbox-list");
    if (!this.#filter.isDoubtfulFirst) return isNewest ? list.prepend(item.element) : list.append(item.element);
    const following = [...list.children].find((each) => Number(each.dataset.margin) > item.margin);
    list.insertBefore(item.element, following ?? null);
  }

  #remove(key) {
    const item = this.#items.get(key);
    this.#stills.remove(item.element);
    item.element.remove();
    this.#items.delete(key);
  }

  /** The oldest, or the least doubtful. */
  #dropLast() {
    const places = [...element("inbox-list").children];
    const found = (place) => [...this.#items].find(([, item]) => item.element === places.at(place));
    const [key] = found(-1);
    if (!this.#filter.isDoubtfulFirst) {
      this.#next = found(-2)[1].cursor;
      element("inbox-more").hidden = false;
    }
    this.#remove(key);
  }

  #showAges() {
    for (const item of this.#items.values()) item.showAge();
  }

  /** The way back leads to the same item. */
  #remember(focused) {
    const item = [...this.#items].find(([, each]) => each.element.contains(focused));
    if (item) history.replaceState({ ...history.state, item: item[0] }, "");
  }

  #onKey(event) {
    const list = element("inbox-list");
    const isInside = list.contains(event.target);
    // From elsewhere, J leads to the first one.
    if (!isInside && !(event.key === "j" && isOutside(event.target))) return;
    const items = [...list.children];
    const next = nextByKey(event, items, columnsOf(list));
    if (next) {
      next.querySelector("a").focus();
      event.preventDefault();
    } else if (isInside) {
      judgeByKey(event, event.target.closest("li"));
    }
  }
}

const keyOf = (sessionId, eventId) => `${sessionId} ${eventId}`;

/** Whether the focus is on nothing in particular. */
const isOutside = (focused) => [document.body, element("inbox")].includes(focused);

function say(sentence) {
  element("inbox-error").textContent = sentence;
}
