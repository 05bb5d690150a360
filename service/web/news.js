/**
 * Actions that start in any session while the page is hidden: counted in the page's title, and shown as notifications if the
 * user wants.
 */

import { actionName } from "./action_names.js";
import { eventHash, inRegion, percent } from "./format.js";

const button = document.getElementById("notify");
let name = "CAKE";
let unseen = 0;

/**
 * Follows all sessions with a LogFeed, and offers notifications where the browser has them. They need HTTPS or a
 * loopback address.
 */
export function startNews(feed) {
  feed.listen(({ event }) => {
    if (document.hidden && event.type === "action.start") tell(event);
  });
  document.addEventListener("visibilitychange", onVisibility);
  button.addEventListener("click", askForPermission);
  showButton();
}

/** Sets the title, to which the number of unseen actions is added. */
export function setTitle(text) {
  name = text;
  document.title = unseen > 0 ? `(${unseen}) ${name}` : name;
}

function tell(start) {
  unseen += 1;
  setTitle(name);
  if (!window.Notification || Notification.permission !== "granted") return;
  // Of one session only the newest is shown.
  const options = { body: start.name ?? "A session without a name", tag: start.session_id };
  const notification = new Notification(`${actionName(start.label)}${inRegion(start)}, ${percent(start.score)}`, options);
  notification.onclick = () => {
    window.focus();
    location.hash = eventHash(start);
  };
}

function onVisibility() {
  if (document.hidden) return;
  unseen = 0;
  setTitle(name);
}

async function askForPermission() {
  await Notification.requestPermission();
  showButton();
}

function showButton() {
  button.hidden = !window.Notification || Notification.permission !== "default";
}
