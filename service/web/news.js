/**
 * Actions that start in any session while the page is hidden: counted in the page's title, and shown as notifications if the
 * user wants.
 */

import { listStarts, startsSocketUrl } from "./api.js";
import { percent } from "./format.js";
import { LastingSocket } from "./lasting_socket.js";

const button = document.getElementById("notify");
let name = "CAKE";
let unseen = 0;
/** Where the next connection continues; null before the first. */
let cursor = null;

/**
 * Follows all sessions, and offers notifications where the browser has them. They need HTTPS or a loopback address.
 */
export function startNews() {
  new LastingSocket(socketUrlNow, {
    onMessage(entry) {
      cursor = entry.cursor;
      if (document.hidden) tell(entry.event);
    },
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

async function socketUrlNow() {
  cursor ??= (await listStarts(1)).end;
  return startsSocketUrl(cursor);
}

function tell(start) {
  unseen += 1;
  setTitle(name);
  if (!window.Notification || Notification.permission !== "granted") return;
  const where = start.region ? ` in ${start.region}` : "";
  // Of one session only the newest is shown.
  const options = { body: start.name ?? "A session without a name", tag: start.session_id };
  const notification = new Notification(`${start.label}${where}, ${percent(start.score)}`, options);
  notification.onclick = () => {
    window.focus();
    location.hash = `session=${encodeURIComponent(start.session_id)}`;
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
