/** Repeats a task: never concurrently, only while it is of use, and with backoff while it fails. */

const MAX_PAUSE_MS = 10_000;

/**
 * `task(signal)` runs now and again `intervalMs` after it has finished, while the page is visible and `isWanted()`.
 * `intervalMs` may be a function that returns it. `onError(error | null)` is called after each run.
 * Returns `{ wake, stop }`: wake runs it now; stop ends it and aborts the current run.
 */
export function poll(task, intervalMs, onError = () => {}, isWanted = () => true) {
  const ended = new AbortController();
  let timer = null;
  let running = false;
  let again = false;
  let failures = 0;

  async function run() {
    clearTimeout(timer);
    if (document.hidden || !isWanted() || ended.signal.aborted) return;
    if (running) {
      again = true;
      return;
    }
    running = true;
    again = false;
    let failure = null;
    try {
      await task(ended.signal);
      failures = 0;
    } catch (error) {
      failures += 1;
      failure = error;
    }
    running = false;
    if (ended.signal.aborted) return;
    onError(failure);
    const interval = typeof intervalMs === "function" ? intervalMs() : intervalMs;
    const pause = Math.min(interval * 2 ** failures, Math.max(interval, MAX_PAUSE_MS));
    timer = setTimeout(run, again && failure === null ? 0 : pause);
  }

  document.addEventListener("visibilitychange", run, { signal: ended.signal });
  run();
  return {
    wake: run,
    stop() {
      clearTimeout(timer);
      ended.abort();
    },
  };
}
