import { getEventLog, type LogEntry } from "./client";
import { client } from "./client/client.gen";

const RETRY_MS = 1000;

/** Yield the events of all sessions after a cursor, by default new ones, once and in order, also across restarts of the
 * server. Throws if the server rejects the request. */
export async function* follow(baseUrl: string, after?: string | null, key?: string): AsyncGenerator<LogEntry> {
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  let cursor: string =
    after ?? (await getEventLog({ baseUrl, headers, query: { limit: 1 }, throwOnError: true })).data.end;
  for (;;) {
    let refusal: unknown;
    const { stream } = await client.sse.get<{ 200: LogEntry }>({
      url: "/v1/events",
      baseUrl,
      headers: { ...headers, accept: "text/event-stream" },
      query: { after: cursor },
      // The generated client retries refusals forever, and ends when the server closes the stream. This loop does not.
      sseMaxRetryAttempts: 1,
      onSseError: (error) => (refusal = /SSE failed: 4/.test(String(error)) ? error : undefined),
    });
    for await (const entry of stream) {
      cursor = entry.cursor;
      yield entry;
    }
    if (refusal) throw refusal;
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}
