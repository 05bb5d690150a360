/** The server's clock, so that ages are right on devices whose clock is wrong. */

/** The `Date` of a response has whole seconds, and answers take a moment. */
const EXACT_MS = 3000;
let offset_ms = 0;

/** Takes the `Date` header of a response that has just arrived, or null. */
export function noteDate(date) {
  const found_ms = Date.parse(date) - Date.now();
  if (!Number.isNaN(found_ms)) offset_ms = Math.abs(found_ms) < EXACT_MS ? 0 : found_ms;
}

/** Unix time in ms. */
export const serverNow_ms = () => Date.now() + offset_ms;
