/** Which sessions of the list the user is looking for. */

import { sourceName } from "./format.js";

/** Whether each word of `text` is in the session's name, source, state, model, actions or metadata, in any case. */
export function matches(session, text) {
  const { source, state, code, model, labels, metadata } = session;
  const pairs = Object.entries(metadata).map(([key, value]) => `${key}=${value}`);
  const about = [sourceName(session), source.url, source.filename, state, code, model, ...labels, ...pairs];
  const searched = about.filter(Boolean).join("\n").toLowerCase();
  return wordsOf(text).every((word) => searched.includes(word));
}

const wordsOf = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);
