/** How far a session is, what its user must know, and whether the page is connected to it. */

import { clock } from "./format.js";

const CONNECTIONS = {
  connecting: "Connecting…",
  live: "Connected",
  lost: "Connection lost. Reconnecting…",
  ended: "",
};
const element = (id) => document.getElementById(id);

/** Shows the media time analysed so far, and its share of a video whose duration is known. */
export function showPosition({ state, video, position_s }) {
  const duration_s = video?.duration_s ?? null;
  const progress = element("position");
  if (duration_s) progress.value = state === "completed" ? 1 : Math.min(1, position_s / duration_s);
  progress.hidden = !duration_s;
  element("position-text").textContent = clock(position_s) + (duration_s ? ` / ${clock(duration_s)}` : " analysed");
}

/** Shows sentences above the session; none hides the place. */
export function showNotice(sentences, isError) {
  const notice = element("notice");
  notice.hidden = sentences.length === 0;
  notice.classList.toggle("bad", isError);
  if (notice.textContent !== sentences.join("\n")) notice.textContent = sentences.join("\n");
}

/** Shows the state of the stream of events, or the reason `why` it is in, if there is one. */
export function showConnection(state, why) {
  const shown = element("connection");
  shown.textContent = why ?? CONNECTIONS[state];
  shown.dataset.connection = state;
}
