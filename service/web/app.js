/** The page: which session is selected lives in the address, `#session=ID`, so that a reload shows it again. */

import { ENDED } from "./event_stream.js";
import { startKeyForm } from "./key.js";
import { SessionPanel } from "./session_panel.js";
import { SessionsList } from "./sessions_list.js";
import { startForm } from "./submit.js";

const element = (id) => document.getElementById(id);
let panel = null;
let farewell = "";

const selectedId = () => new URLSearchParams(location.hash.slice(1)).get("session");

function openSelected() {
  const id = selectedId();
  panel?.close();
  panel = null;
  element("session").hidden = true;
  element("no-session").hidden = id !== null;
  element("no-session").textContent = farewell || "Choose a session, or start one with a video.";
  farewell = "";
  document.body.dataset.view = id === null ? "list" : "session";
  list.select(id);
  document.title = "CAKE";
  if (id === null) return;
  panel = new SessionPanel(id, { onChanged: () => list.refresh(), onGone: leave });
  focusIfLost();
}

/** The selected session is no more. */
function leave(message) {
  list.remove(selectedId());
  farewell = message;
  location.hash = "sessions";
}

/** On a narrow screen the list makes room for the session: focus follows. */
function focusIfLost() {
  const focused = document.activeElement;
  if (focused !== document.body && focused.offsetParent === null) element("stage").focus();
}

startKeyForm();

const list = new SessionsList({
  onFirst(sessions) {
    const live = sessions.find((session) => !ENDED.has(session.state));
    if (location.hash === "" && live) location.replace(`#session=${encodeURIComponent(live.id)}`);
  },
});

startForm((session) => {
  location.hash = `session=${encodeURIComponent(session.id)}`;
  list.refresh();
});
window.addEventListener("hashchange", openSelected);
openSelected();
