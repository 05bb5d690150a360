/** The sessions that an overview shows: those that are live, and those that failed lately. */

import { listSessions } from "./api.js";
import { sourceName } from "./format.js";

const LIVE = ["running", "reconnecting", "starting", "queued"];
const MAX_OF_STATE = 200;
const MAX_FAILED = 20;
const FAILED_LATELY_MS = 3600_000;

/** Live sessions, at most 200 in each state. */
export async function listLive(signal) {
  const pages = await Promise.all(LIVE.map((state) => listSessions({ limit: MAX_OF_STATE, state }, signal)));
  // One may have changed its state between two answers.
  return [...new Map(pages.flatMap(({ sessions }) => sessions).map((session) => [session.id, session])).values()];
}

/** Sessions that failed within the hour, unless one of the same name is live again. */
export async function listFailed(live, signal) {
  const names = new Set(live.map(sourceName));
  const { sessions } = await listSessions({ limit: MAX_FAILED, state: "failed" }, signal);
  const since_ms = Date.now() - FAILED_LATELY_MS;
  return sessions.filter((session) => Date.parse(session.ended_at) > since_ms && !names.has(sourceName(session)));
}
