/** Does the same with many things, a few at a time. */

const LANES = 3;

/** `task(item)` runs for each item, at most three at a time; after a failure no more are begun. */
export async function inLanes(items, task) {
  const waiting = [...items];
  const lane = async () => {
    while (waiting.length > 0) await task(waiting.shift());
  };
  try {
    await Promise.all(Array.from({ length: LANES }, lane));
  } finally {
    waiting.length = 0;
  }
}
