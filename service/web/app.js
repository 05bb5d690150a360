/** The page. The selected session is in the URL, `#session=ID`, so that a reload shows it again. */

import { ENDED } from "./event_stream.js";
import { startKeyForm } from "./key.js";
import { setTitle, startNews } from "./news.js";
import { RegionsEditor } from "./regions.js";
import { SessionPanel } from "./session_panel.js";
import { SessionsList } from "./sessions_list.js";
import { showStorage } from "./storage.js";
import { startForm } from "./submit.js";

const element = (id) => document.getElementById(id);
let panel = null;
let blankText = "";

const selectedId = () => new URLSearchParams(location.hash.slice(1)).get("session");

function openSelected() {
  const id = selectedId();
  panel?.close();
  panel = null;
  element("session").hidden = true;
  element("no-session").hidden = id !== null;
  element("no-session").textContent = blankText || "Select a session, or start one with a video.";
  blankText = "";
  document.body.dataset.view = id === null ? "list" : "session";
  list.select(id);
  setTitle("CAKE");
  if (id === null) return;
  panel = new SessionPanel(id, { regions, onChanged: () => list.refresh(), onGone: leave });
  focusIfLost();
}

/** Called when the selected session no longer exists. */
function leave(message) {
  list.remove(selectedId());
  blankText = message;
  location.hash = "sessions";
}

/** On a narrow screen the session replaces the list: move the focus to it. */
function focusIfLost() {
  const focused = document.activeElement;
  if (focused !== document.body && focused.offsetParent === null) element("stage").focus();
}

startKeyForm();
startNews();
const regions = new RegionsEditor();

const list = new SessionsList({
  /** Until the user has chosen something, the page shows what runs, also when it starts later. */
  onRefresh(sessions) {
    const live = sessions.find((session) => !ENDED.has(session.state));
    if (location.hash === "" && live) location.replace(`#session=${encodeURIComponent(live.id)}`);
  },
});

startForm(regions, (session) => {
  location.hash = `session=${encodeURIComponent(session.id)}`;
  list.refresh();
});
showStorage();
window.addEventListener("hashchange", openSelected);
openSelected();
