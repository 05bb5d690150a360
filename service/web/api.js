/** The HTTP API: every call returns parsed JSON or throws a Problem whose message can be shown to the user. */

import { askForKey, hasKey, keyHeaders } from "./key.js";
import { noteDate } from "./server_clock.js";

const UNREACHABLE = "Cannot reach the server. Check that it is running and try again.";
const KEY_REQUIRED = "An API key is required. Enter it with the Key button.";
const TIMEOUT_MS = 15_000;

export class Problem extends Error {
  /** `status` 0: no response arrived. */
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

/** Relative to the page, so that it also works below a path prefix of a reverse proxy. */
export function apiUrl(path, query = {}) {
  const url = new URL(`v1/${path}`, document.baseURI);
  url.hash = "";
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined) for (const each of [value].flat()) url.searchParams.append(name, each);
  }
  return url;
}

function problemOf(status, body) {
  return new Problem(
    status,
    body?.code ?? "unknown",
    body?.detail ?? `The server responded with status ${status}. Try again.`,
  );
}

/** The problem of a rejected request. If authentication is required, also opens the API key form. */
function rejection(status, body) {
  const problem = problemOf(status, body);
  if (status !== 401) return problem;
  askForKey(problem.message);
  // The server's sentence is for programs.
  return hasKey() ? problem : new Problem(status, problem.code, KEY_REQUIRED);
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
  noteDate(response.headers.get("Date"));
  if (!response.ok) throw rejection(response.status, await response.json().catch(() => null));
  return response;
}

async function sendJson(path, options) {
  return (await send(path, options)).json();
}

function requestJson(method, path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  return sendJson(path, { method, headers, body: JSON.stringify(body), signal });
}

const sessionPath = (id) => `sessions/${encodeURIComponent(id)}`;

export const getCapabilities = (signal) => sendJson("capabilities", { signal });
export const discoverCameras = (search) => requestJson("POST", "cameras:discover", search);
export const getModel = (name, signal) => sendJson(`models/${encodeURIComponent(name)}`, { signal });
/** The starts of a model's shadow version, compared with the published ones. */
export const getShadow = (name, signal) => sendJson(`models/${encodeURIComponent(name)}/shadow`, { signal });
/** Who uses the page: `{ kind, name, scopes, sign_in, sign_out }`. */
export const getIdentity = () => sendJson("identity");
/** Ends the sign-in, `{ url }`: where it also ends at the identity provider, or null. */
export const signOut = () => sendJson("../sign-out", { method: "POST" });
export const listKeys = (signal) => sendJson("keys", { signal });
/** The new key, with its secret as `key`. */
export const createKey = (key) => requestJson("POST", "keys", key);
const keyPath = (id) => `keys/${encodeURIComponent(id)}`;
export const changeKey = (id, change) => requestJson("PATCH", keyPath(id), change);
/** Revokes a key and stops what it started. */
export const revokeKey = (id) => send(keyPath(id), { method: "DELETE" });
export const listModels = (signal) => sendJson("models", { signal });
export const listSessions = (query, signal) => sendJson("sessions", { query, signal });
/** Events of all sessions, the newest first, as entries of the log. */
export const listEvents = (query, signal) => sendJson("events", { query, signal });
/** The server's metrics: values by name with labels, `cake_sessions{state="running"}`. */
export async function getMetrics(signal) {
  const text = await (await send("../metrics", { signal })).text();
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ")))]));
}

export const getReadiness = (signal) => sendJson("../readyz", { signal });
export const getStorage = (signal) => sendJson("storage", { signal });
export const getSession = (id, signal) => sendJson(sessionPath(id), { signal });
export const getScores = (id, query, signal) => sendJson(`${sessionPath(id)}/scores`, { query, signal });
/** The decisions that rules would have made on a session's stored scores. */
export const tryRules = (id, trial, signal) => requestJson("POST", `${sessionPath(id)}/rules:try`, trial, signal);
export const changeSession = (id, change) => requestJson("PATCH", sessionPath(id), change);
export const getFeedback = (id, signal) => sendJson(`${sessionPath(id)}/feedback`, { signal });
const verdictPath = (id, eventId) => `${sessionPath(id)}/events/${encodeURIComponent(eventId)}/feedback`;
/** `verdict` is "right" or "wrong". */
export const judgeEvent = (id, eventId, verdict) => requestJson("PUT", verdictPath(id, eventId), { verdict });
export const withdrawVerdict = (id, eventId) => send(verdictPath(id, eventId), { method: "DELETE" });
export const addMissed = (id, missed) => requestJson("POST", `${sessionPath(id)}/feedback`, missed);
export const removeMissed = (id, feedbackId) =>
  send(`${sessionPath(id)}/feedback/${encodeURIComponent(feedbackId)}`, { method: "DELETE" });
/** Stops a session, or deletes an ended one. */
export const deleteSession = (id) => send(sessionPath(id), { method: "DELETE" });

/** Submits an ended session of a URL again, and returns the new one. */
export const retrySession = (id) => sendJson(`${sessionPath(id)}/retry`, { method: "POST" });

/** The latest snapshot as a Blob, or null while there is none. To `watch` makes the worker take more of them. */
export async function getSnapshot(id, watch, signal) {
  try {
    const query = { watch };
    return await (await send(`${sessionPath(id)}/snapshot.jpg`, { query, signal, cache: "no-cache" })).blob();
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return null;
    throw error;
  }
}

/** The frame at which an action started, as a Blob. */
export async function getStill(id, eventId, signal) {
  return (await send(`${sessionPath(id)}/events/${encodeURIComponent(eventId)}/still.jpg`, { signal })).blob();
}

/** The events of a session as a file, as a Blob. */
export async function exportEvents(id, format, signal) {
  return (await send(`${sessionPath(id)}/export`, { query: { format }, signal })).blob();
}

/** The clip of an action, or of a missed one, `{ blob, from_s }`: an MP4 and the media time of its first frame. */
export async function getClip(id, actionId, signal) {
  const kind = actionId.startsWith("missed-") ? "feedback" : "events";
  const response = await send(`${sessionPath(id)}/${kind}/${encodeURIComponent(actionId)}/clip.mp4`, { signal });
  return { blob: await response.blob(), from_s: Number(response.headers.get("Clip-From-S")) };
}

/**
 * Where a player reads the uploaded video, `{ url, expires_ms }`: browsers cannot send a key with it, and a ticket is
 * valid for a time.
 */
export async function getVideoSource(id, signal) {
  const path = `${sessionPath(id)}/video`;
  if (!hasKey()) return { url: apiUrl(path), expires_ms: Infinity };
  const { ticket, expires_at } = await sendJson(`${path}/tickets`, { method: "POST", signal });
  return { url: apiUrl(path, { ticket }), expires_ms: Date.parse(expires_at) };
}

/** Throws the Problem for which the uploaded video cannot be read, if there is one. */
export async function checkVideo(id, signal) {
  await send(`${sessionPath(id)}/video`, { headers: { Range: "bytes=0-0" }, signal });
}

/** A WebSocket URL, valid for one connection. */
async function socketUrl(path, query = {}) {
  // Browsers cannot send headers with a WebSocket, and a key must not appear in a URL.
  const ticket = hasKey() ? (await sendJson("tickets", { method: "POST" })).ticket : null;
  const url = apiUrl(path, { ...query, ticket });
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}

/** URL of a session's events, from the beginning or after an event id. */
export const eventsSocketUrl = (id, after) => socketUrl(`${sessionPath(id)}/events`, { after });
/** URL of the events of all sessions, as entries of the log. */
export const logSocketUrl = (query) => socketUrl("events", query);
/** URL of the live video and scores of a session, or of its scores only. */
export const liveSocketUrl = (id, video) => socketUrl(`${sessionPath(id)}/live`, { video });
/** URL to which a session's video is pushed. */
export const streamSocketUrl = (id) => socketUrl(`${sessionPath(id)}/stream`);

function create(source, options) {
  return requestJson("POST", "sessions", { source, ...options });
}

/** `source` has a `url`, and options of it. */
export const createFromUrl = (source, options) => create(source, options);
/** Creates a session whose video is pushed. It fails when no video has arrived for `maxDownS`. */
export const createPush = (options, maxDownS) => create({ push: true, max_down_s: maxDownS }, options);

/** Uploads a File, with XMLHttpRequest because fetch reports no progress. `onProgress` gets a fraction in [0, 1]. */
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
      else reject(rejection(request.status, request.response));
    };
    request.onerror = () => reject(new Problem(0, "unreachable", `The upload was interrupted. ${UNREACHABLE}`));
    request.onabort = () => reject(new Problem(0, "cancelled", "The upload was cancelled."));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.open("POST", apiUrl("sessions"));
    for (const [name, value] of Object.entries(keyHeaders())) request.setRequestHeader(name, value);
    request.send(form);
  });
}
