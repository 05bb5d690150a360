/** The form that starts sessions from a dropped or chosen file, a URL, or this device's camera. */

import { nameActions } from "./action_names.js";
import { createFromFile, createFromUrl, listModels } from "./api.js";
import { CameraPush } from "./camera.js";
import { offerCameraSearch } from "./find_cameras.js";
import { percent } from "./format.js";
import { LastUrl } from "./last_url.js";
import { MoreOptions } from "./more.js";
import { poll } from "./poll.js";

const MODELS_RETRY_MS = 2000;
const NOT_READY = "The server is getting ready. Sessions can start in a moment.";
const element = (id) => document.getElementById(id);
const form = element("new-session");
const more = new MoreOptions();

/**
 * `onCreated(session)` is called with the created session. `regions` is a RegionsEditor. Returns `onListed(sessions)`, to
 * call with the newest sessions, and `onRetried()`, to call when a failed session was tried again.
 */
export function startForm(regions, onCreated) {
  let upload = null;
  let camera = null;
  const lastUrl = new LastUrl();

  /** `url`: what was typed, "" for another source. */
  async function submit(create, url = "") {
    if (form.ariaBusy === "true") return;
    form.ariaBusy = "true";
    showError("");
    try {
      const session = await create({ ...readOptions(), regions: regions.regions });
      element("form-status").textContent = "Session started.";
      if (url !== "") {
        lastUrl.keep(session, { url, name: element("name").value });
        element("url").value = "";
      }
      more.showCreated(session);
      onCreated(session);
    } catch (error) {
      showError(error.message);
    } finally {
      form.ariaBusy = "false";
    }
  }

  function submitUrl(event) {
    event.preventDefault();
    const url = element("url").value.trim();
    if (url === "") {
      showError("Enter the URL of a video, or choose a file.");
      element("url").focus();
      return;
    }
    submit((options) => createFromUrl({ url, ...more.readSource() }, options), url).then(() => {
      if (element("form-error").textContent !== "") element("url").setAttribute("aria-invalid", "true");
    });
  }

  function submitFiles(files) {
    if (files.length === 0) return;
    if (files.length > 1) {
      showError("Choose a single file: each session has one video.");
      return;
    }
    submit(async (options) => {
      upload = new AbortController();
      showUpload(files[0], 0);
      try {
        const onProgress = (part) => showUpload(files[0], part);
        return await createFromFile(files[0], options, { onProgress, signal: upload.signal });
      } finally {
        element("upload").hidden = true;
        element("file").value = "";
      }
    });
  }

  function toggleCamera() {
    if (camera !== null) {
      camera.stop();
      return;
    }
    submit(async (options) => {
      camera = await CameraPush.start(options, more.readSource(), () => {
        camera = null;
        element("camera").textContent = "Use my camera";
      });
      element("camera").textContent = "Stop my camera";
      return camera.session;
    });
  }

  form.addEventListener("submit", submitUrl);
  element("camera").addEventListener("click", toggleCamera);
  element("url").addEventListener("input", () => showError(""));
  element("file").addEventListener("change", () => submitFiles(element("file").files));
  element("upload-cancel").addEventListener("click", () => upload.abort());
  acceptDrops(submitFiles);
  listModelOptions();
  offerCameraSearch();
  return {
    onListed(sessions) {
      const failed = lastUrl.takeFailed(sessions);
      if (failed && element("url").value === "") offerAgain(failed);
    },
    onRetried() {
      element("url").value = "";
      showError("");
    },
  };
}

/** Puts what was typed back, with what is wrong with it. */
function offerAgain({ session, typed }) {
  element("new").open = true;
  element("url").value = typed.url;
  if (element("name").value === "") element("name").value = typed.name;
  element("url").setAttribute("aria-invalid", "true");
  element("form-error").textContent = `${session.detail} Correct the URL if it is wrong, and start again.`;
}

function readOptions() {
  const data = new FormData(form);
  const model = data.get("model");
  return { pace: data.get("pace"), ...(model ? { model } : {}), ...more.read() };
}

function showError(message) {
  element("form-error").textContent = message;
  if (message === "") element("url").removeAttribute("aria-invalid");
}

function showUpload(file, part) {
  element("upload").hidden = false;
  element("upload-progress").value = part;
  const done = part >= 1 ? "processing" : percent(part);
  element("upload-label").textContent = `Uploading ${file.name}: ${done}`;
}

/** Lists the models. Until they are known, the server's default model is used; while it starts there are none. */
function listModelOptions() {
  const select = element("model");
  const listing = poll(async (signal) => {
    const { models, default: first } = await listModels(signal);
    nameActions(models);
    const offerLabels = () => more.offer(models.find(({ name }) => name === select.value)?.labels ?? []);
    select.replaceChildren(...models.map(({ name }) => new Option(name, name, name === first, name === first)));
    select.addEventListener("change", offerLabels);
    offerLabels();
    listing.stop();
    element("not-ready").textContent = "";
  }, MODELS_RETRY_MS, (error) => (element("not-ready").textContent = error?.code === "not_ready" ? NOT_READY : ""));
}

/** The whole page accepts dropped files. */
function acceptDrops(onFiles) {
  const over = element("drop-over");
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0;
  const setDepth = (value) => {
    depth = Math.max(0, value);
    over.hidden = depth === 0;
  };
  document.addEventListener("dragenter", (event) => hasFiles(event) && setDepth(depth + 1));
  document.addEventListener("dragleave", (event) => hasFiles(event) && setDepth(depth - 1));
  document.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    setDepth(0);
    onFiles(event.dataTransfer.files);
  });
}
