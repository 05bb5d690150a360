/** How much space the uploads take, below the list of sessions. */

import { getStorage } from "./api.js";
import { size } from "./format.js";
import { poll } from "./poll.js";

const REFRESH_MS = 30_000;
const DAY_S = 24 * 3600;

/** Shows nothing while the server cannot be asked: the list of sessions says why. */
export function showStorage() {
  const place = document.getElementById("storage");
  poll(
    async (signal) => {
      place.textContent = storageSentence(await getStorage(signal));
    },
    REFRESH_MS,
    (error) => {
      if (error) place.textContent = "";
    },
  );
}

/** An answer of getStorage in words. */
export function storageSentence({ stored_bytes: stored, quota_bytes: quota, free_bytes: free, keep_ended_s: keptS }) {
  const of = quota === null ? "" : ` of ${size(quota)}`;
  const left = free === null ? "" : `; ${size(free)} are free`;
  const kept = keptS === null ? "" : ` Ended sessions are deleted after ${age(keptS)}.`;
  return `Videos take ${size(stored)}${of}${left}.${kept}`;
}

function age(seconds) {
  const days = seconds / DAY_S;
  if (days >= 2) return `${Math.round(days)} days`;
  return `${Math.max(1, Math.round(seconds / 3600))} h`;
}
