/**
 * The page. What it shows is in the URL, so that a reload shows it again: `#session=ID`, where `&event=ID` shows an
 * action, `#wall`, `#inbox`, `#server`, `#keys`, or else the list.
 */

import { nameActions } from "./action_names.js";
import { listModels } from "./api.js";
import { ENDED } from "./event_stream.js";
import { startIdentity } from "./identity.js";
import { Inbox } from "./inbox.js";
import { askToSignIn, startKeyForm } from "./key.js";
import { KeysView } from "./keys_view.js";
import { LogFeed } from "./log_feed.js";
import { setTitle, startNews } from "./news.js";
import { RegionsEditor } from "./regions.js";
import { ServerView } from "./server_view.js";
import { SessionPanel } from "./session_panel.js";
import { SessionsList } from "./sessions_list.js";
import { startSound } from "./sound.js";
import { showStorage } from "./storage.js";
import { startForm } from "./submit.js";
import { Wall } from "./wall.js";

/** Views that take the whole window; the others show the list of sessions, or a session. */
const VIEWS = { wall: Wall, inbox: Inbox, server: ServerView, keys: KeysView };
const narrow = matchMedia("(max-width: 859px)");
const element = (id) => document.getElementById(id);
/** The open view: a session, or one of VIEWS. */
let view = null;
let blankText = "";

const inHash = (name) => new URLSearchParams(location.hash.slice(1)).get(name);
const selectedId = () => inHash("session");

function openSelected() {
  const id = selectedId();
  const name = Object.keys(VIEWS).find((each) => location.hash === `#${each}`);
  const hadFocus = document.activeElement !== document.body;
  view?.close();
  view = null;
  element("session").hidden = true;
  element("no-session").hidden = id !== null;
  element("stage").classList.toggle("told", blankText !== "");
  element("no-session").textContent = blankText || "Select a session, or start one with a video.";
  blankText = "";
  document.body.dataset.view = name ?? (id === null ? "list" : "session");
  for (const link of element("views").children) markCurrent(link, link.hash === `#${name ?? "sessions"}`);
  list.select(id);
  list.refresh();
  setTitle("CAKE");
  if (name) view = new VIEWS[name](feed);
  else if (id !== null) {
    const onChanged = () => list.refresh();
    view = new SessionPanel(id, { eventId: inHash("event"), regions, onChanged, onGone: leave, onRetried });
  }
  if (view && hadFocus) focusIfLost();
}

const isListShown = () => !(document.body.dataset.view in VIEWS);

function markCurrent(link, isCurrent) {
  if (isCurrent) link.setAttribute("aria-current", "page");
  else link.removeAttribute("aria-current");
}

/** Shows a session that was just submitted. */
function show(session) {
  location.hash = `session=${encodeURIComponent(session.id)}`;
  list.refresh();
}

/** Shows the session that takes the place of a failed one. */
function onRetried(session) {
  form.onRetried();
  show(session);
}

/** Called when the selected session no longer exists. */
function leave(message) {
  list.remove(selectedId());
  blankText = message;
  // Its button had the focus, which a change of the URL takes away.
  window.addEventListener("hashchange", focusIfLost, { once: true });
  location.hash = "sessions";
}

/** The list from which the user chose may be hidden now: move the focus to the chosen view. */
function focusIfLost() {
  const focused = document.activeElement;
  if (focused === document.body || focused.offsetParent === null) focusContent();
}

function focusContent() {
  const content = element(isListShown() ? "stage" : document.body.dataset.view);
  // On a narrow screen there is only the list.
  (content.offsetParent === null ? element("sessions-title") : content).focus();
}

startKeyForm();
startIdentity(askToSignIn);
// Before anything shows an action; without the models, actions are called by their labels.
await listModels().then(({ models }) => nameActions(models)).catch(() => {});
const feed = new LogFeed();
startNews(feed);
startSound(feed);
const regions = new RegionsEditor();
const form = startForm(regions, show);

let isFirstList = true;
const list = new SessionsList(feed, {
  /** Until the user has chosen something, the page shows a running session, even if it starts later. */
  onRefresh(sessions) {
    form.onListed(sessions);
    const live = sessions.find((session) => !ENDED.has(session.state));
    if (location.hash === "" && live) location.replace(`#session=${encodeURIComponent(live.id)}`);
    // The form would fill the screen of a phone.
    if (isFirstList && sessions.length > 0 && narrow.matches) element("new").open = false;
    isFirstList = false;
  },
  onDeleted(id) {
    if (id === selectedId()) leave("");
  },
  isShown: isListShown,
});

showStorage();
window.addEventListener("hashchange", openSelected);
element("skip").addEventListener("click", (event) => {
  // The URL says what is shown.
  event.preventDefault();
  focusContent();
});
openSelected();
