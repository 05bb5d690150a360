/** Who uses the page: signs in and out at the identity provider, if the server has one, and shows the way to the keys. */

import { getIdentity, Problem, signOut } from "./api.js";

const FAILED = {
  denied: "The identity provider denied the sign-in.",
  expired: "The sign-in took too long, or began in another browser. Sign in again.",
  no_role: "You are signed in, but have no role on this server. Ask the operator for one.",
  rejected: "The identity provider's response is invalid. Sign in again; if that fails, ask the operator.",
  revoked: "Your access was revoked. Ask the operator.",
  unavailable: "The identity provider does not respond. Try again later.",
};
const element = (id) => document.getElementById(id);
let signInPath = null;

/** The sentence that explains why a sign-in failed, once; null if none has. */
function takeFailure() {
  const url = new URL(location.href);
  const reason = url.searchParams.get("sign-in");
  if (reason === null) return null;
  url.searchParams.delete("sign-in");
  history.replaceState(null, "", url);
  return FAILED[reason] ?? "The sign-in failed. Try again.";
}

/** Asks the server who uses the page, and shows it. `askToSignIn` gets the reason of a failed sign-in. */
export async function startIdentity(askToSignIn) {
  const failure = takeFailure();
  element("sign-in").addEventListener("click", () => {
    location.assign(new URL(`${signInPath}?view=${encodeURIComponent(location.hash)}`, document.baseURI));
  });
  element("sign-out").addEventListener("click", leave);
  let identity;
  try {
    identity = await getIdentity();
  } catch (error) {
    // The views report that the server does not answer.
    if (error instanceof Problem) return;
    throw error;
  }
  signInPath = identity.sign_in;
  element("sign-in-part").hidden = signInPath === null;
  element("key-title").textContent = signInPath === null ? "API key required" : "Sign in";
  element("key-label").textContent = signInPath === null ? "API key" : "or enter an API key";
  element("person").hidden = identity.sign_out === null;
  element("person-name").textContent = identity.name ?? "";
  element("keys-link").hidden = !identity.scopes.includes("admin");
  if (failure !== null) askToSignIn(failure);
}

async function leave() {
  const { url } = await signOut();
  location.assign(url ?? document.baseURI);
}
