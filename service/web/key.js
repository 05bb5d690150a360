/** The API key: stored in this tab until it is closed, and only sent in a header. */

const STORED_AS = "cake-api-key";
const LOOKS_LIKE_A_KEY = /^cake_[\w-]+$/;
const element = (id) => document.getElementById(id);
let dismissed = false;

export const hasKey = () => sessionStorage.getItem(STORED_AS) !== null;

/** Headers that authenticate a request; none without a key. */
export function keyHeaders() {
  return hasKey() ? { Authorization: `Bearer ${sessionStorage.getItem(STORED_AS)}` } : {};
}

/** Opens the key form; `detail` is the server's error. Once closed, it is reached through the button at the top. */
export function askForKey(detail) {
  element("key-button").hidden = false;
  if (dismissed || element("key-dialog").open) return;
  element("key-error").textContent = hasKey() ? detail : "";
  showForm();
}

/** Opens the form with the reason for which a sign-in failed. */
export function askToSignIn(reason) {
  element("key-button").hidden = false;
  showForm();
  element("key-error").textContent = reason;
}

export function startKeyForm() {
  const dialog = element("key-dialog");
  element("key-button").hidden = !hasKey();
  element("key-button").addEventListener("click", showForm);
  element("key-later").addEventListener("click", () => dialog.close());
  element("key").addEventListener("input", () => showError(""));
  dialog.addEventListener("close", () => {
    dismissed = true;
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
    showError("An API key starts with cake_ and contains no spaces. Paste the whole key.");
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
