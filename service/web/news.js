/** Actions that start while nobody looks: counted in the page's title, and shown as notifications if the user wants. */

import { percent } from "./format.js";

const button = document.getElementById("notify");
let name = "CAKE";
let unseen = 0;

/** Offers notifications where the browser has them. They need HTTPS or a loopback address. */
export function startNews() {
  document.addEventListener("visibilitychange", onVisibility);
  button.addEventListener("click", askForPermission);
  showButton();
}

/** Sets the title, to which the number of unseen actions is added. */
export function setTitle(text) {
  name = text;
  document.title = unseen > 0 ? `(${unseen}) ${name}` : name;
}

/** Tells about actions that have started in a session with this name. */
export function tell(actions, sessionName) {
  if (!document.hidden || actions.length === 0) return;
  unseen += actions.length;
  setTitle(name);
  if (!window.Notification || Notification.permission !== "granted") return;
  const last = actions.at(-1);
  const where = last.region ? ` in ${last.region}` : "";
  // Of one session only the newest is shown.
  new Notification(`${last.label}${where}, ${percent(last.score)}`, { body: sessionName, tag: last.session_id });
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
