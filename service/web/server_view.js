/** The server itself: workers, capacity, queue, version, disk and models, for keys that may read its metrics. */

import { getMetrics, getReadiness, getStorage, listModels } from "./api.js";
import { percent, size } from "./format.js";
import { setTitle } from "./news.js";
import { poll } from "./poll.js";
import { shadowSections } from "./shadows.js";
import { storageSentence } from "./storage.js";

const REFRESH_MS = 5000;
const LIVE = ["queued", "starting", "running", "reconnecting"];
const element = (id) => document.getElementById(id);

export class ServerView {
  #poll;

  constructor() {
    setTitle("Server · CAKE");
    this.#poll = poll((signal) => refresh(signal), REFRESH_MS);
  }

  close() {
    this.#poll.stop();
  }
}

async function refresh(signal) {
  const [readiness, metrics, models, storage] = await Promise.allSettled([
    getReadiness(signal),
    getMetrics(signal),
    listModels(signal),
    getStorage(signal),
  ]);
  if (signal.aborted) return;
  const problems = [readiness, metrics, models].filter(({ status }) => status === "rejected");
  element("server-error").textContent = [...new Set(problems.map(({ reason }) => reason.message))].join(" ");
  const facts = [["Ready", readiness.value ? "yes" : "no"]];
  if (metrics.value) facts.push(...factsOf(metrics.value));
  if (storage.value) facts.push(["Storage", storageSentence(storage.value)]);
  if (readiness.value?.confinement) facts.push(["Decoders confined", confinementText(readiness.value.confinement)]);
  element("server-facts").replaceChildren(...facts.flatMap(([name, text]) => [made("dt", name), made("dd", text)]));
  element("server-models").replaceChildren(...(models.value?.models ?? []).map(modelRow));
  const sections = await shadowSections(models.value?.models ?? [], signal);
  if (!signal.aborted) element("server-shadows").replaceChildren(...sections);
}

/** Each fact is `[name, text]`. `metrics` are values by name with labels. */
function factsOf(metrics) {
  const value = (name) => metrics.get(name) ?? 0;
  const [capacity, reserved] = [value("cake_capacity_steps_per_second"), value("cake_reserved_steps_per_second")];
  const sessions = LIVE.map((state) => [state, value(`cake_sessions{state="${state}"}`)]).filter(([, count]) => count > 0);
  const database = value("cake_database_bytes");
  const version = [...metrics.keys()].find((name) => name.startsWith("cake_build_info"))?.match(/version="([^"]*)"/)?.[1];
  return [
    ["Version", version ?? "unknown"],
    ["Workers", `${value("cake_workers")}, restarted ${value("cake_worker_restarts_total")} times`],
    ["Capacity", `${Math.round(reserved)} of ${Math.round(capacity)} steps per second are reserved${shareText(reserved, capacity)}`],
    ["Live sessions", sessions.map(([state, count]) => `${count} ${state}`).join(", ") || "none"],
    ["Database", Number.isNaN(database) ? "Redis" : size(database)],
    ["Webhooks with undelivered events", value("cake_webhooks_pending")],
    ["Failing subscriptions", value("cake_subscriptions_failing")],
  ];
}

function shareText(part, whole) {
  return whole > 0 ? ` (${percent(part / whole)})` : "";
}

function confinementText(confinement) {
  return Object.entries(confinement).map(([name, holds]) => `${name}: ${holds ? "yes" : "no"}`).join(", ");
}

function modelRow({ name, version, labels, warnings }) {
  const row = document.createElement("tr");
  const heading = made("th", name);
  heading.scope = "row";
  row.append(heading);
  row.insertCell().textContent = version;
  row.insertCell().append(made("p", labels.join(", ")), ...warnings.map((warning) => made("p", warning)));
  return row;
}

function made(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}
