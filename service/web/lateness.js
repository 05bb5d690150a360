/** Why an event came late. Pure. */

import { span } from "./format.js";

/** Events within this time need no explanation. */
const PROMPT_S = 1;
const CAUSES = {
  decode: "it was decoded",
  queue: "it waited for the detector",
  infer: "the detector computed",
  rest: "it waited behind earlier frames",
};

/** The main cause of an action's latency, as a sentence; "" for a prompt one. */
export function whyLate({ total, decode, queue, infer }) {
  if (total < PROMPT_S) return "";
  const parts = { decode, queue, infer, rest: total - decode - queue - infer };
  const [[cause, longest_s]] = Object.entries(parts).sort(([, one], [, other]) => other - one);
  return `Published ${span(total)} after its frame arrived, because this server is busy: for ${span(longest_s)} ${CAUSES[cause]}.`;
}
