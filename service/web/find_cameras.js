/** Finds the cameras of the server's network, and puts the chosen stream of one into the form. */

import { discoverCameras, getCapabilities } from "./api.js";

const element = (id) => document.getElementById(id);

/** Offers the search where the server can search. */
export async function offerCameraSearch() {
  element("cameras-form").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  try {
    element("cameras").hidden = !(await getCapabilities()).camera_discovery;
  } catch {
    // Without a key, say: sessions can be started without the search.
  }
}

async function search() {
  const form = element("cameras-form");
  if (form.ariaBusy === "true") return;
  form.ariaBusy = "true";
  show("Looking for cameras…", []);
  const [user, password] = [element("cameras-user").value.trim(), element("cameras-password").value];
  const hosts = element("cameras-hosts").value.split(/[\s,]+/).filter(Boolean);
  const model = element("model").value;
  const login = user === "" ? {} : { user, password };
  try {
    const { cameras, problems } = await discoverCameras({ hosts, ...login, ...(model ? { model } : {}) });
    const found = cameras.length === 1 ? "1 camera was found." : `${cameras.length} cameras were found.`;
    show([found, ...problems.map((problem) => `${problem}.`)].join(" "), cameras.map((camera) => item(camera, login)));
  } catch (error) {
    show(error.message, []);
  } finally {
    form.ariaBusy = "false";
  }
}

function show(text, items) {
  element("cameras-status").textContent = text;
  element("cameras-list").replaceChildren(...items);
}

/** A camera with its streams; the suitable one is selected. */
function item({ name, profiles }, login) {
  const choice = document.createElement("select");
  choice.setAttribute("aria-label", `Stream of ${name}`);
  choice.append(...profiles.map((profile) => new Option(streamText(profile), profile.url, profile.is_suitable, profile.is_suitable)));
  const use = document.createElement("button");
  use.type = "button";
  use.className = "quiet";
  use.textContent = `Use ${name}`;
  use.addEventListener("click", () => {
    element("url").value = withLogin(choice.value, login);
    element("url").focus();
  });
  const entry = document.createElement("li");
  const title = document.createElement("p");
  title.textContent = name;
  entry.append(title, choice, use);
  return entry;
}

function streamText({ name, width, height, rate_hz: rateHz, codec, is_suitable: isSuitable }) {
  const rate = rateHz === null ? "" : `, ${rateHz} frames per second`;
  return `${name}: ${width} × ${height}${rate}, ${codec}${isSuitable ? " (suits the model)" : ""}`;
}

function withLogin(url, { user, password }) {
  if (user === undefined) return url;
  return url.replace("://", `://${encodeURIComponent(user)}:${encodeURIComponent(password)}@`);
}
