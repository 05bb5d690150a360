/** Repeats a task, never two at once, only while the page can be seen, and ever more slowly while it fails. */

const MAX_PAUSE_MS = 10_000;

/**
 * `task(signal)` runs at once and then `intervalMs` after it has finished; `onError(error | null)` hears how it went.
 * Returns `{ wake, stop }`: wake runs it now, stop ends it for good and aborts what is under way.
 */
export function poll(task, intervalMs, onError = () => {}) {
  const ended = new AbortController();
  let timer = null;
  let running = false;
  let again = false;
  let failures = 0;

  async function run() {
    clearTimeout(timer);
    if (document.hidden || ended.signal.aborted) return;
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
    const pause = Math.min(intervalMs * 2 ** failures, Math.max(intervalMs, MAX_PAUSE_MS));
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
