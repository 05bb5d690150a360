/** Deletes several ended sessions together: while this is on, each session in the list has a checkbox. */

import { deleteSession } from "./api.js";
import { ENDED } from "./event_stream.js";
import { sourceName } from "./format.js";
import { confirmDelete, press } from "./session_buttons.js";

const element = (id) => document.getElementById(id);
const isEnded = ({ state }) => ENDED.has(state);
const counted = (number) => `${number} ${number === 1 ? "session" : "sessions"}`;

export class Selection {
  #isOn = false;
  #shown = [];
  #chosen = new Set();
  #onChanged;
  #onDeleted;

  /** `onChanged()` is called when the checkboxes must be redrawn, `onDeleted(id)` for each deleted session. */
  constructor({ onChanged, onDeleted }) {
    this.#onChanged = onChanged;
    this.#onDeleted = onDeleted;
    element("select").addEventListener("click", () => this.#toggle());
    element("select-all").addEventListener("change", ({ target }) => this.#chooseAll(target.checked));
    element("delete-selected").addEventListener("click", () => this.#delete());
  }

  /** A checkbox for a session, for `fill`. */
  newBox(session) {
    const box = document.createElement("input");
    box.type = "checkbox";
    box.setAttribute("aria-label", sourceName(session));
    box.addEventListener("change", () => {
      if (box.checked) this.#chosen.add(session.id);
      else this.#chosen.delete(session.id);
      this.#showChosen();
    });
    return box;
  }

  fill(box, session) {
    box.hidden = !this.#isOn;
    box.disabled = !isEnded(session);
    box.title = box.disabled ? "Stop this session before you delete it." : "";
    box.checked = this.#chosen.has(session.id);
  }

  /** Only visible sessions stay selected, so that nobody deletes sessions that they do not see. */
  show(sessions) {
    this.#shown = sessions;
    const ended = new Set(sessions.filter(isEnded).map(({ id }) => id));
    for (const id of this.#chosen) if (!ended.has(id)) this.#chosen.delete(id);
    element("select").hidden = !this.#isOn && ended.size === 0;
    this.#showChosen();
  }

  #toggle() {
    this.#isOn = !this.#isOn;
    this.#chosen.clear();
    this.#say("");
    element("select").textContent = this.#isOn ? "Done" : "Select";
    element("selection").hidden = !this.#isOn;
    this.#onChanged();
  }

  #chooseAll(isWanted) {
    this.#chosen = new Set(isWanted ? this.#shown.filter(isEnded).map(({ id }) => id) : []);
    this.#onChanged();
  }

  #showChosen() {
    const all = this.#shown.filter(isEnded).length;
    const { size } = this.#chosen;
    element("select-all").checked = size > 0 && size === all;
    element("select-all").indeterminate = size > 0 && size < all;
    element("select-all").disabled = all === 0;
    element("delete-selected").disabled = size === 0;
    element("delete-selected").textContent = size === 0 ? "Delete" : `Delete ${counted(size)}`;
  }

  #delete() {
    const sessions = this.#shown.filter(({ id }) => this.#chosen.has(id));
    const action = async () => {
      const what = "their events and their uploaded videos";
      if (await confirmDelete(`Delete ${counted(sessions.length)}?`, what)) await this.#deleteAll(sessions);
    };
    return press(element("delete-selected"), action, ({ message }) => this.#say(message));
  }

  async #deleteAll(sessions) {
    const failures = [];
    for (const session of sessions) {
      try {
        await deleteSession(session.id);
        this.#onDeleted(session.id);
      } catch (error) {
        failures.push(`${sourceName(session)} was not deleted: ${error.message}`);
      }
    }
    const deleted = sessions.length - failures.length;
    this.#say([...(deleted > 0 ? [`Deleted ${counted(deleted)}.`] : []), ...failures].join(" "));
  }

  #say(text) {
    element("selection-result").textContent = text;
  }
}
