/**
 * The rarer options of a new session: its name, the actions to report, a webhook, and how a camera is opened. Regions have
 * an editor of their own.
 */

import { actionName } from "./action_names.js";

const element = (id) => document.getElementById(id);

export class MoreOptions {
  /** Offers the actions of the chosen model, all of them chosen. */
  offer(labels) {
    const boxes = labels.map((label) => {
      const box = document.createElement("input");
      box.type = "checkbox";
      box.value = label;
      box.checked = true;
      const shown = document.createElement("label");
      shown.append(box, ` ${actionName(label)}`);
      return shown;
    });
    element("label-list").replaceChildren(...boxes);
  }

  /** Options of a session, without those that were left as they are. Throws an Error that says what to enter. */
  read() {
    const [name, url] = [element("name").value.trim(), element("webhook").value.trim()];
    const boxes = [...element("label-list").querySelectorAll("input")];
    const labels = boxes.filter(({ checked }) => checked).map(({ value }) => value);
    if (boxes.length > 0 && labels.length === 0) throw new Error("Choose at least one action to report, under More.");
    return {
      ...(name && { name }),
      ...(labels.length < boxes.length && { labels }),
      ...(url && { webhook: { url } }),
    };
  }

  /** Options of a camera, without those that were left as they are. Throws an Error that says what to enter. */
  readSource() {
    const [transport, maxDown] = [element("transport").value, element("max-down")];
    if (!maxDown.validity.valid) throw new Error("Enter for how many seconds a camera may be lost, under More, or leave it empty for no limit.");
    return { ...(transport && { transport }), ...(maxDown.value && { max_down_s: maxDown.valueAsNumber }) };
  }

  /** A name is that of one session, and a webhook's secret is shown once. */
  showCreated({ webhook }) {
    element("name").value = "";
    element("webhook-secret").hidden = !webhook?.secret;
    element("webhook-secret").textContent = webhook?.secret
      ? `The secret that signs the webhook's deliveries; it will not be shown again: ${webhook.secret}`
      : "";
  }
}
