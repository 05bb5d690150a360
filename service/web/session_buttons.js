/** The buttons that change a session. */

/** Runs a button's action, never twice at the same time; `onError(problem)` is called if it failed. */
export async function press(button, action, onError) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  try {
    await action();
  } catch (error) {
    onError(error);
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

/** Asks whether to delete sessions, `title`, with `what` they have; resolves to the answer. */
export function confirmDelete(title, what) {
  const dialog = document.getElementById("delete-dialog");
  document.getElementById("delete-title").textContent = title;
  document.getElementById("delete-what").textContent = what;
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "delete"), { once: true });
  });
}
