/** The starts of models' shadow versions, compared with the published ones. */

import { getModel, getShadow } from "./api.js";
import { clock, eventHash, moment } from "./format.js";

const SHOWN = 20;
const HEADINGS = ["Action", "Both", "Only published", "Only shadow", "Published per hour", "Shadow per hour"];

/** A section for each uploaded model with a shadow. */
export async function shadowSections(models, signal) {
  const uploaded = models.filter(({ origin }) => origin === "uploaded");
  const details = await Promise.all(uploaded.map(({ name }) => getModel(name, signal)));
  const followed = details.filter(({ shadow }) => shadow !== null);
  return Promise.all(followed.map(async ({ name, shadow }) => section(await getShadow(name, signal), shadow)));
}

function section(found, { workers }) {
  const part = document.createElement("section");
  const failed = workers.filter(({ state }) => state === "failed");
  part.append(
    made("h3", `Shadow of ${found.model}`),
    made(
      "p",
      `Version ${found.version} has followed ${found.sessions.length} sessions for ${clock(found.followed_s)} of video. `
        + `New sessions use version ${found.serving_version}.`,
    ),
    ...failed.map(({ worker, detail }) => made("p", `${worker} cannot load it: ${detail}`)),
    table(found),
    list(found),
  );
  return part;
}

function table({ model, labels }) {
  const element = document.createElement("table");
  element.setAttribute("aria-label", `Starts of ${model} and its shadow`);
  const head = element.createTHead().insertRow();
  head.append(...HEADINGS.map((text) => heading(text, "col")));
  const body = element.createTBody();
  for (const [label, counts] of Object.entries(labels)) {
    const row = body.insertRow();
    row.append(heading(label, "row"));
    const numbers = [counts.both, counts.only_serving, counts.only_shadow, counts.serving_per_hour, counts.shadow_per_hour];
    for (const number of numbers) row.insertCell().textContent = number ?? "–";
  }
  return element;
}

/** The newest starts that only one version found, with links to where they are. */
function list({ starts, sessions }) {
  const names = new Map(sessions.map(({ session_id, name }) => [session_id, name ?? session_id]));
  const element = document.createElement("ul");
  for (const start of starts.slice(0, SHOWN)) {
    const link = made("a", `${start.label} at ${clock(start.start_s)} in ${names.get(start.session_id)}`);
    const place = { session_id: start.session_id, id: start.event_id };
    link.href = start.event_id === null ? `#session=${encodeURIComponent(start.session_id)}` : eventHash(place);
    const item = document.createElement("li");
    item.append(start.found_by === "shadow" ? "Only the shadow: " : "Only published: ", link, `, ${moment(start.time)}`);
    element.append(item);
  }
  return element;
}

function heading(text, scope) {
  const cell = made("th", text);
  cell.scope = scope;
  return cell;
}

function made(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}
