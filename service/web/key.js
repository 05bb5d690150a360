/** The API key that the server asks for: kept for this tab, until it is closed, and sent in a header only. */

const STORED_AS = "cake-api-key";
const LOOKS_LIKE_A_KEY = /^cake_[\w-]+$/;
const element = (id) => document.getElementById(id);
let putOff = false;

export const hasKey = () => sessionStorage.getItem(STORED_AS) !== null;

/** Headers of a request, none while no key was asked for. */
export function keyHeaders() {
  return hasKey() ? { Authorization: `Bearer ${sessionStorage.getItem(STORED_AS)}` } : {};
}

/** The server refused: `why` is its sentence. The form comes once; who closes it finds it again in the page's head. */
export function askForKey(why) {
  element("key-button").hidden = false;
  if (putOff || element("key-dialog").open) return;
  element("key-error").textContent = hasKey() ? why : "";
  showForm();
}

export function startKeyForm() {
  const dialog = element("key-dialog");
  element("key-button").hidden = !hasKey();
  element("key-button").addEventListener("click", showForm);
  element("key-later").addEventListener("click", () => dialog.close());
  element("key").addEventListener("input", () => showError(""));
  dialog.addEventListener("close", () => {
    putOff = true;
    element("key").value = "";
  });
  element("key-form").addEventListener("submit", useKey);
}

function showForm() {
  if (!element("key-dialog").open) element("key-dialog").showModal();
}

function useKey(event) {
  event.preventDefault();
  const key = element("key").value.trim();
  if (!LOOKS_LIKE_A_KEY.test(key)) {
    showError("An API key begins with cake_ and has no spaces. Paste the whole of it.");
    return;
  }
  sessionStorage.setItem(STORED_AS, key);
  location.reload();
}

function showError(text) {
  element("key-error").textContent = text;
  if (text === "") element("key").removeAttribute("aria-invalid");
  else element("key").setAttribute("aria-invalid", "true");
}
