/** The HTTP interface: every call returns parsed JSON or throws a Problem whose message can be shown as it is. */

import { askForKey, hasKey, keyHeaders } from "./key.js";

const UNREACHABLE = "The server cannot be reached. Check that it is running and try again.";
const TIMEOUT_MS = 15_000;

export class Problem extends Error {
  /** `status` 0 means that no answer came. */
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

/** Relative to the page, so that it works below a path of a reverse proxy too. */
export function apiUrl(path, query = {}) {
  const url = new URL(`v1/${path}`, document.baseURI);
  url.hash = "";
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined) url.searchParams.set(name, value);
  }
  return url;
}

function problemOf(status, body) {
  return new Problem(
    status,
    body?.code ?? "unknown",
    body?.detail ?? `The server answered ${status} without saying why. Try again.`,
  );
}

/** The problem of a refused request; one without a known key also brings up the form for it. */
function refusal(status, body) {
  const problem = problemOf(status, body);
  if (status === 401) askForKey(problem.message);
  return problem;
}

async function send(path, { query, ...options } = {}) {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
  let response;
  try {
    const headers = { ...keyHeaders(), ...options.headers };
    response = await fetch(apiUrl(path, query), { ...options, headers, signal });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Problem(0, "unreachable", UNREACHABLE);
  }
  if (!response.ok) throw refusal(response.status, await response.json().catch(() => null));
  return response;
}

async function sendJson(path, options) {
  return (await send(path, options)).json();
}

const sessionPath = (id) => `sessions/${encodeURIComponent(id)}`;

export const listModels = (signal) => sendJson("models", { signal });
export const listSessions = (query, signal) => sendJson("sessions", { query, signal });
export const getSession = (id, signal) => sendJson(sessionPath(id), { signal });
export const getScores = (id, query, signal) => sendJson(`${sessionPath(id)}/scores`, { query, signal });
/** Stops a session, or removes one that has ended. */
export const deleteSession = (id) => send(sessionPath(id), { method: "DELETE" });

/** The newest picture as a Blob, or null while there is none. */
export async function getSnapshot(id, signal) {
  try {
    return await (await send(`${sessionPath(id)}/snapshot.jpg`, { signal, cache: "no-cache" })).blob();
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return null;
    throw error;
  }
}

/** A WebSocket address, good for one connection. */
async function socketUrl(path, query = {}) {
  // A browser sends no header with a WebSocket, and a key has no place in an address.
  const ticket = hasKey() ? (await sendJson("tickets", { method: "POST" })).ticket : null;
  const url = apiUrl(path, { ...query, ticket });
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}

/** Where a session's events come from, from the beginning or after an event id. */
export const eventsSocketUrl = (id, after) => socketUrl(`${sessionPath(id)}/events`, { after });
/** Where the video of a session is pushed to. */
export const ingestSocketUrl = (id) => socketUrl(`${sessionPath(id)}/stream`);

function create(source, options) {
  const body = JSON.stringify({ source, ...options });
  return sendJson("sessions", { method: "POST", headers: { "Content-Type": "application/json" }, body });
}

export const createFromUrl = (url, options) => create({ url }, options);
/** A session whose video is pushed; it fails when none has come for `maxDownS`. */
export const createPush = (options, maxDownS) => create({ push: true, max_down_s: maxDownS }, options);

/** Uploads a File; XMLHttpRequest because fetch tells no progress. `onProgress` gets a part in [0, 1]. */
export function createFromFile(file, options, { onProgress, signal }) {
  const form = new FormData();
  form.append("session", JSON.stringify(options));
  form.append("file", file, file.name);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) resolve(request.response);
      else reject(refusal(request.status, request.response));
    };
    request.onerror = () => reject(new Problem(0, "unreachable", `The upload broke off. ${UNREACHABLE}`));
    request.onabort = () => reject(new Problem(0, "cancelled", "The upload was cancelled."));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.open("POST", apiUrl("sessions"));
    for (const [name, value] of Object.entries(keyHeaders())) request.setRequestHeader(name, value);
    request.send(form);
  });
}
