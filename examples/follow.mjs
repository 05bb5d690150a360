// Print the events of a session. Continues after restarts of the server without losing or repeating an event.
//
//     node follow.mjs http://127.0.0.1:8000 SESSION_ID
//
// Needs Node 18 or later and no package. The function `follow` also works in a browser, on a page of the server itself.
// The API key, if the server requires one, is read from the variable CAKE_KEY.

const RETRY_MS = 1000;

/** Yield each event once, in order, until the session has ended. */
export async function* follow(baseUrl, sessionId, key) {
  // Throws a TypeError here if the address is invalid. `fetch` below throws one whenever the connection is lost.
  const url = new URL(`${baseUrl}/v1/sessions/${sessionId}/events`, globalThis.location?.href);
  let after = "";
  for (;;) {
    const headers = { accept: "text/event-stream" };
    if (key) headers.authorization = `Bearer ${key}`;
    if (after) headers["last-event-id"] = after;
    try {
      const response = await fetch(url, { headers });
      if (response.status === 204) return; // The session has ended, and every event was received.
      if (response.ok) {
        for await (const event of eventsOf(response.body)) {
          after = event.id;
          yield event;
        }
      } else if (response.status < 500) {
        const problem = await response.json().catch(() => ({})); // A proxy may respond with HTML.
        throw new Refused(`${response.status}: ${problem.detail ?? response.statusText}`);
      }
    } catch (error) {
      if (error instanceof Refused) throw error;
      // Otherwise the connection was lost: the server is restarting.
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

class Refused extends Error {}

/** Parse server-sent events: blocks separated by an empty line, with the event as JSON in the field `data`. */
async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5));
      if (data.length) yield JSON.parse(data.join("\n"));
    }
  }
}

async function main([baseUrl, sessionId, ...others]) {
  if (!sessionId || others.length || !URL.canParse(baseUrl) || !/^https?:/.test(baseUrl)) {
    console.error("usage: node follow.mjs URL SESSION_ID, for example: node follow.mjs http://127.0.0.1:8000 SESSION_ID");
    return 2;
  }
  try {
    for await (const event of follow(baseUrl, sessionId, process.env.CAKE_KEY)) {
      const words = [event.id, event.type, event.label ?? event.state, event.region, event.code, event.detail];
      console.log(words.filter(Boolean).join(" "));
    }
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    console.error(`follow.mjs: ${error.message}`);
    return 1;
  }
  return 0;
}

if (globalThis.process?.argv[1]?.endsWith("follow.mjs")) process.exitCode = await main(process.argv.slice(2));
