/** The API keys of the server, for holders of the scope `admin`: create, limit and revoke them. */

import { changeKey, createKey, listKeys, revokeKey } from "./api.js";
import { ago, moment, size } from "./format.js";
import { setTitle } from "./news.js";
import { poll } from "./poll.js";

const REFRESH_MS = 10_000;
const GB = 1e9;
const SCOPES = ["sessions:read", "sessions:write", "events:read", "metrics:read", "metrics:sessions", "admin"];
const element = (id) => document.getElementById(id);

export class KeysView {
  #poll;
  #listeners = new AbortController();
  /** The key that the form changes; null: it creates one. */
  #changed = null;
  #showsRevoked = false;

  constructor() {
    setTitle("Keys · CAKE");
    const { signal } = this.#listeners;
    element("keys-new").addEventListener("click", () => this.#openForm(null), { signal });
    element("keys-revoked").addEventListener("change", () => this.#toggleRevoked(), { signal });
    element("key-edit-form").addEventListener("submit", (event) => this.#save(event), { signal });
    element("key-edit-cancel").addEventListener("click", () => element("key-edit").close(), { signal });
    element("key-made").addEventListener("close", () => (element("key-made-text").value = ""), { signal });
    element("key-made-copy").addEventListener("click", copyMade, { signal });
    element("key-made-done").addEventListener("click", () => element("key-made").close(), { signal });
    element("key-edit-scopes").replaceChildren(...SCOPES.map(scopeBox));
    this.#poll = poll((signalOfPoll) => this.#refresh(signalOfPoll), REFRESH_MS);
  }

  close() {
    this.#poll.stop();
    this.#listeners.abort();
    for (const dialog of ["key-edit", "key-made"]) if (element(dialog).open) element(dialog).close();
  }

  #toggleRevoked() {
    this.#showsRevoked = element("keys-revoked").checked;
    this.#refresh(this.#listeners.signal);
  }

  async #refresh(signal) {
    try {
      const { keys } = await listKeys(signal);
      if (signal.aborted) return;
      this.#show(keys);
      element("keys-error").textContent = "";
    } catch (error) {
      if (!signal.aborted) element("keys-error").textContent = error.message;
    }
  }

  #show(keys) {
    const active = keys.filter((key) => key.revoked_at === null);
    const shown = this.#showsRevoked ? keys : active;
    element("keys-count").textContent = `${active.length} in use`;
    // The focused element keeps the focus while the list is redrawn.
    const { id: focusedKey, action: focusedAction } = document.activeElement?.dataset ?? {};
    element("keys-list").replaceChildren(...shown.map((key) => this.#card(key)));
    if (focusedAction) element("keys-list").querySelector(`[data-id="${focusedKey}"][data-action="${focusedAction}"]`)?.focus();
  }

  #card(key) {
    const card = made("li");
    const head = made("h3", key.name);
    const kind = made("p", key.kind === "person" ? `Person, signed in by ${key.issuer}` : `Key ${key.id}`, "muted");
    card.append(head, kind, made("p", key.scopes.join(", "), "scopes"), facts(key));
    if (key.revoked_at === null) {
      const actions = made("div", "", "actions");
      if (key.kind === "key") actions.append(button("Change", key, () => this.#openForm(key)));
      actions.append(button("Revoke", key, () => this.#revoke(key)));
      card.append(actions);
    } else {
      card.classList.add("gone");
      if (key.kind === "person") card.append(button("Let in again", key, () => this.#letIn(key)));
    }
    return card;
  }

  #openForm(key) {
    this.#changed = key;
    element("key-edit-title").textContent = key ? `Change ${key.name}` : "New API key";
    element("key-edit-save").textContent = key ? "Save" : "Create";
    element("key-edit-name-part").hidden = key !== null;
    element("key-edit-name").required = key === null;
    element("key-edit-form").reset();
    for (const box of element("key-edit-scopes").querySelectorAll("input")) {
      box.checked = key ? key.scopes.includes(box.value) : ["sessions:read", "sessions:write", "events:read"].includes(box.value);
    }
    element("key-edit-metadata").value = limitText(key?.metadata, ", ");
    element("key-edit-sessions").value = key?.max_sessions ?? "";
    element("key-edit-rate").value = key?.requests_per_s ?? "";
    element("key-edit-stored").value = key ? key.max_stored_bytes / GB : "";
    element("key-edit-expires").value = key?.expires_at ? localTime(key.expires_at) : "";
    element("key-edit-error").textContent = "";
    element("key-edit").showModal();
  }

  async #save(event) {
    event.preventDefault();
    const key = this.#changed;
    try {
      if (key) await changeKey(key.id, asked(key));
      else showMade(await createKey({ name: element("key-edit-name").value.trim(), ...asked(null) }));
      element("key-edit").close();
    } catch (error) {
      element("key-edit-error").textContent = error.message;
    }
    await this.#refresh(this.#listeners.signal);
  }

  async #revoke(key) {
    const what = key.kind === "person" ? `Lock out ${key.name}?` : `Revoke the key ${key.name}? This cannot be undone.`;
    if (!confirm(`${what} Sessions stop, webhooks and subscriptions are disabled.`)) return;
    await this.#act(() => revokeKey(key.id));
  }

  #letIn(key) {
    return this.#act(() => changeKey(key.id, { revoked: false }));
  }

  async #act(change) {
    try {
      await change();
    } catch (error) {
      element("keys-error").textContent = error.message;
      return;
    }
    await this.#refresh(this.#listeners.signal);
    // The button that was pressed is gone.
    element("keys-new").focus();
  }
}

/** The content of the form. An empty field keeps the limit of `key`, or means the default for new keys. */
function asked(key) {
  const number = (id, factor = 1) => (element(id).value === "" ? undefined : Number(element(id).value) * factor);
  const expires = element("key-edit-expires").value;
  const scopes = [...element("key-edit-scopes").querySelectorAll("input:checked")].map((box) => box.value);
  const unchanged = key?.expires_at && expires === localTime(key.expires_at);
  return {
    scopes,
    metadata: limitIn(element("key-edit-metadata").value),
    max_sessions: number("key-edit-sessions"),
    requests_per_s: number("key-edit-rate"),
    max_stored_bytes: number("key-edit-stored", GB) === undefined ? undefined : Math.round(number("key-edit-stored", GB)),
    expires_at: unchanged ? key.expires_at : expires === "" ? null : new Date(expires).toISOString(),
  };
}

/** The values by key of `site=north, site=south`; null if there are none. */
function limitIn(text) {
  const limit = {};
  for (const pair of text.split(",").map((part) => part.trim()).filter(Boolean)) {
    const [key, ...value] = pair.split("=");
    (limit[key.trim()] ??= []).push(value.join("=").trim());
  }
  return Object.keys(limit).length ? limit : null;
}

function limitText(limit, separator) {
  return Object.entries(limit ?? {}).flatMap(([key, values]) => values.map((value) => `${key}=${value}`)).join(separator);
}

function showMade(created) {
  element("key-made-text").value = created.key;
  element("key-made-status").textContent = "";
  element("key-made").showModal();
  element("key-made-text").select();
}

async function copyMade() {
  element("key-made-text").select();
  try {
    await navigator.clipboard.writeText(element("key-made-text").value);
    element("key-made-status").textContent = "Copied.";
  } catch {
    // Pages without TLS may not use the clipboard.
    element("key-made-status").textContent = "The browser does not allow copying. Copy the selected text yourself.";
  }
}

function facts(key) {
  const list = made("dl");
  const expiry = key.revoked_at ? ["Revoked", moment(key.revoked_at)] : ["Expires", key.expires_at ? moment(key.expires_at) : "never"];
  const entries = [
    ["Last used", key.last_used_at ? ago(key.last_used_at) : "never"],
    expiry,
    ["Limits", `${key.max_sessions} sessions, ${key.requests_per_s} requests/s, ${size(key.max_stored_bytes)}`],
  ];
  if (key.metadata) entries.unshift(["Cameras", `only ${limitText(key.metadata, " or ")}`]);
  list.append(...entries.flatMap(([name, text]) => [made("dt", name), made("dd", text)]));
  return list;
}

function scopeBox(scope) {
  const label = made("label");
  const box = made("input");
  box.type = "checkbox";
  box.value = scope;
  label.append(box, ` ${scope}`);
  return label;
}

function button(text, key, onClick) {
  const one = made("button", text, "quiet");
  one.type = "button";
  one.dataset.id = key.id;
  one.dataset.action = text;
  one.setAttribute("aria-label", `${text} ${key.name}`);
  one.addEventListener("click", onClick);
  return one;
}

/** A timestamp as a field of the type `datetime-local` has it. */
function localTime(iso) {
  const date = new Date(iso);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

function made(tag, text = "", className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}
