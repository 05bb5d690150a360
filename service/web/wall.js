/** All live sessions side by side. Those with an action come first, then those with a problem. */

import { actionName } from "./action_names.js";
import { Activity } from "./activity.js";
import { Announcer } from "./announcer.js";
import { inRegion } from "./format.js";
import { columnsOf, nextByKey } from "./grid_keys.js";
import { listFailed, listLive } from "./live_sessions.js";
import { setTitle } from "./news.js";
import { poll } from "./poll.js";
import { STILL_MS, Stills } from "./stills.js";
import { Tile } from "./tile.js";
import { fillingGrid, widest } from "./tile_grid.js";

const SESSIONS_MS = 3000;
const AGES_MS = 1000;
/** While an action is on. */
const WATCHED_STILL_MS = 1000;
const MAX_WATCHED = 4;
/** Images whose longer side is shorter are too small to see much: then the wall scrolls. In full screen it never does. */
const MIN_PICTURE_PX = 250;
/** On a narrow screen, so many tiles are as wide as it. */
const FEW = 4;
/** For this long after its start an action keeps its session in front. */
const RECENT_MS = 60_000;
/** While the user points at tiles or moves between them, they stay where they are. */
const HOLD_MS = 3000;
const EVENTS = { type: ["action.start", "action.end"], limit: 500 };
const wide = matchMedia("(min-width: 860px)");
const element = (id) => document.getElementById(id);

export class Wall {
  #feed;
  #activity = new Activity();
  #tiles = new Map();
  #stills = new Stills();
  #announcer = new Announcer(element("wall-announcer"));
  #polls;
  #held_ms = -HOLD_MS;
  #closed = new AbortController();

  /** `feed` is a LogFeed. */
  constructor(feed) {
    this.#feed = feed;
    const options = { signal: this.#closed.signal };
    const grid = element("tiles");
    for (const type of ["pointermove", "focusin"]) grid.addEventListener(type, () => this.#hold(), options);
    grid.addEventListener("keydown", (event) => this.#onKey(event), options);
    element("wall-full").addEventListener("click", toggleFullScreen, options);
    document.addEventListener("fullscreenchange", () => this.#fit(), options);
    window.addEventListener("resize", () => this.#fit(), options);
    setTitle("Wall · CAKE");
    const sessions = poll((signal) => this.#refresh(signal), SESSIONS_MS, (error) => say(error?.message ?? ""));
    this.#polls = [sessions, poll(() => this.#render(), AGES_MS)];
    this.#follow();
  }

  close() {
    this.#closed.abort();
    for (const { stop } of this.#polls) stop();
    this.#stills.close();
    this.#announcer.close();
    for (const tile of this.#tiles.values()) tile.close();
  }

  #follow() {
    const { signal } = this.#closed;
    const following = poll(async () => {
      try {
        const onPage = ({ entries }) => entries.toReversed().forEach(({ event }) => this.#activity.add(event));
        await this.#feed.follow(EVENTS, { onPage, onEntry: ({ event }) => this.#onEvent(event) }, signal);
      } catch (error) {
        // A key may list sessions without reading events.
        if (error.status !== 403) throw error;
      }
      following.stop();
    }, SESSIONS_MS);
    this.#polls.push(following);
  }

  #onEvent(event) {
    this.#activity.add(event);
    if (event.type === "session.state") this.#polls[0].wake();
    if (event.type === "action.start") this.#onStart(event);
  }

  #onStart(start) {
    this.#render();
    const tile = this.#tiles.get(start.session_id);
    if (!tile) return;
    this.#stills.hurry(tile.element);
    this.#announcer.add([`${actionName(start.label)}${inRegion(start)}: ${tile.name}`]);
  }

  async #refresh(signal) {
    const live = await listLive(signal);
    const sessions = [...live, ...(await listFailed(live, signal))];
    const wanted = new Set(sessions.map(({ id }) => id));
    for (const [id, tile] of this.#tiles) {
      if (wanted.has(id)) continue;
      this.#stills.remove(tile.element);
      tile.close();
      this.#tiles.delete(id);
    }
    for (const session of sessions) {
      if (this.#tiles.has(session.id)) this.#tiles.get(session.id).update(session);
      else this.#add(session);
    }
    element("wall-none").hidden = sessions.length > 0;
    element("wall-full").disabled = sessions.length === 0;
    element("wall-count").textContent = countText(sessions);
    this.#render();
    this.#fit();
  }

  #add(session) {
    const tile = new Tile(session);
    this.#tiles.set(session.id, tile);
    this.#stills.add(tile.element, (signal) => this.#fetchStill(tile, signal));
  }

  /** The first few tiles with an action are watched, at the price of more work for a worker. */
  async #fetchStill(tile, signal) {
    if (tile.session.frames === 0) return 0;
    const on = [...this.#tiles.values()].filter((each) => this.#activity.on(each.session.id).length > 0);
    const watch = on.slice(0, MAX_WATCHED).includes(tile);
    const { ratio } = tile;
    await tile.fetchStill(watch, signal);
    if (tile.ratio !== ratio) this.#fit();
    if (tile.session.state === "failed") return Infinity;
    return watch ? WATCHED_STILL_MS : STILL_MS;
  }

  #render() {
    for (const tile of this.#tiles.values()) {
      tile.show(this.#activity.last(tile.session.id), this.#activity.on(tile.session.id));
    }
    if (performance.now() - this.#held_ms > HOLD_MS) this.#arrange();
  }

  #arrange() {
    const grid = element("tiles");
    const tiles = [...this.#tiles.values()].map((tile) => ({ tile, rank: this.#rankOf(tile.session) }));
    tiles.sort((one, other) => one.rank - other.rank || compareNames(one.tile.name, other.tile.name));
    const focused = tiles.find(({ tile }) => tile.element.contains(document.activeElement));
    tiles.forEach(({ tile }, place) => {
      if (grid.children[place] !== tile.element) grid.insertBefore(tile.element, grid.children[place] ?? null);
    });
    // An element that is moved loses the focus.
    if (focused && !focused.tile.element.contains(document.activeElement)) focused.tile.focus();
  }

  #rankOf({ id, state }) {
    const last = this.#activity.last(id);
    const isRecent = last && Date.now() - Date.parse(last.time) < RECENT_MS;
    if (isRecent || this.#activity.on(id).length > 0) return 0;
    return state === "failed" || state === "reconnecting" ? 1 : 2;
  }

  #hold() {
    this.#held_ms = performance.now();
  }

  #onKey(event) {
    this.#hold();
    const grid = element("tiles");
    const next = nextByKey(event, [...grid.children], columnsOf(grid));
    if (next === null) return;
    next.firstChild.focus();
    event.preventDefault();
  }

  /** Tiles fill the screen if all of them can be seen at once. In full screen they always can. */
  #fit() {
    const grid = element("tiles");
    const isFull = document.fullscreenElement !== null;
    element("wall-full").textContent = isFull ? "Leave full screen" : "Full screen";
    grid.classList.toggle("few", this.#tiles.size <= FEW);
    const ratios = [...this.#tiles.values()].map(({ ratio }) => ratio);
    const height_px = heightBelow_px(grid);
    const { columns, width_px, ratio } = fillingGrid(ratios, grid.clientWidth, height_px);
    const isLarge = Math.max(width_px, width_px / ratio) >= MIN_PICTURE_PX;
    const isFitted = ratios.length > 0 && (isFull || (wide.matches && isLarge));
    grid.classList.toggle("fitted", isFitted);
    const places = { columns, width: `${width_px}px`, height: `${height_px}px`, ratio: isFitted ? ratio : widest(ratios) };
    for (const [name, value] of Object.entries(places)) grid.style.setProperty(`--${name}`, value);
  }
}

/** From the upper edge of the grid to the end of the window, when the page is not scrolled. */
function heightBelow_px(grid) {
  const padding_px = parseFloat(getComputedStyle(grid.closest(".layout")).paddingBottom);
  return window.innerHeight - grid.getBoundingClientRect().top - window.scrollY - padding_px;
}

const compareNames = new Intl.Collator([], { numeric: true }).compare;

function say(sentence) {
  element("wall-error").textContent = sentence;
}

function countText(sessions) {
  const counts = Map.groupBy(sessions, ({ state }) => state);
  return [...counts].map(([state, those]) => `${those.length} ${state}`).join(" · ");
}

function toggleFullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  // The whole page, so that a session opened from the wall is also shown in full screen.
  else document.documentElement.requestFullscreen();
}
