/** Which actions the inbox shows, of one label, of one session, not judged yet, and in which order. */

import { actionName } from "./action_names.js";
import { listSessions } from "./api.js";
import { hueOf } from "./colours.js";
import { sourceName } from "./format.js";

const MAX_SESSIONS = 200;
const TYPES = ["action.start", "event.media"];
const label = document.getElementById("inbox-label");
const session = document.getElementById("inbox-session");
const unjudged = document.getElementById("inbox-unjudged");
const order = document.getElementById("inbox-order");

export class InboxFilter {
  #sessions = new Map();
  #labels = [];

  /** `onChanged()` is called when the user chooses, until `signal` aborts. The way back leads to the same choice. */
  constructor(onChanged, signal) {
    const { chosen = {} } = history.state ?? {};
    unjudged.checked = chosen.unjudged ?? false;
    order.value = chosen.order ?? "newest";
    offer(label, [], "All actions", chosen.label ?? "");
    offer(session, [], "All sessions", chosen.session ?? "");
    for (const control of [label, session, unjudged, order]) {
      control.addEventListener("change", () => {
        const now = { label: label.value, session: session.value, unjudged: unjudged.checked, order: order.value };
        history.replaceState({ chosen: now }, "");
        onChanged();
      }, { signal });
    }
  }

  /** Fetches the options. Throws a Problem. */
  async load(signal) {
    const { sessions } = await listSessions({ limit: MAX_SESSIONS }, signal);
    this.#labels = [...new Set(sessions.flatMap(({ labels }) => labels))];
    this.#sessions = new Map(sessions.map((each) => [each.id, each]));
    offer(label, this.#labels.toSorted().map((each) => [each, actionName(each)]), "All actions");
    offer(session, sessions.map((each) => [each.id, sourceName(each)]), "All sessions");
  }

  get unjudgedOnly() {
    return unjudged.checked;
  }

  get isDoubtfulFirst() {
    return order.value === "doubtful";
  }

  /** How far the score of an action is above the threshold of its session; the lower, the more doubtful it is. */
  marginOf({ session_id: id, label: name, score }) {
    return score - (this.#sessions.get(id)?.start_rules[name]?.enter ?? 0);
  }

  /** Parameters of `GET /v1/events`. */
  get query() {
    return { type: TYPES, label: label.value || null, session: session.value || null };
  }

  passes(start) {
    return [start.label, ""].includes(label.value) && [start.session_id, ""].includes(session.value);
  }

  /** The name of an action's session. */
  nameOf({ session_id: id, name }) {
    return name ?? (this.#sessions.has(id) ? sourceName(this.#sessions.get(id)) : "A session without a name");
  }

  hueOf(start) {
    return hueOf(start.label, this.#sessions.get(start.session_id)?.labels ?? this.#labels);
  }
}

/** Sets the options `[value, text]`, after one for all. Selects `chosen`, by default the previous selection. */
function offer(select, options, all, chosen = select.value) {
  select.replaceChildren(new Option(all, ""), ...options.map(([value, text]) => new Option(text, value)));
  if (chosen && !options.some(([value]) => value === chosen)) select.add(new Option(chosen, chosen));
  select.value = chosen;
}
