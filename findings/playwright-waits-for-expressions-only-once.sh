#!/usr/bin/env bash
# Playwright's wait_for_function with an expression fails on a page with a content security policy, unless it is true at once.
#
# It evaluates the expression as a string in the page each time it looks. A policy such as default-src 'self' refuses that from
# the second look on: an EvalError, and only where the page was not quick enough, so the test fails now and then. Where the
# expression is already true at the first look, it works. A function, `() => EXPRESSION`, works always.
# Seen with Playwright 1.65.2 for Python and Chromium 156, 2026-11-30. The page comes from the test itself, not from the network.
#
# Exit status 0: as described; 1: the behaviour changed; 2: this machine has no Chromium.
set -euo pipefail
chromium=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || { echo "Chromium is needed." >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check playwright==1.65.2
cd "$folder"
"$folder/venv/bin/python" - "$chromium" <<'PY'
import sys

from playwright.sync_api import Browser, Error, Route, sync_playwright

PAGE = "<!doctype html><title>0</title><script src='/go.js'></script>"
SCRIPT = "setTimeout(() => { document.title = '1' }, 1500)"
POLICY = "default-src 'self'"
LATER, NOW = "document.title === '1'", "document.title === '0'"


def outcome(browser: Browser, policy: str, condition: str) -> str:
    headers = {"Content-Security-Policy": policy} if policy else {}

    def answer(route: Route) -> None:
        if route.request.url.endswith("go.js"):
            route.fulfill(body=SCRIPT, content_type="text/javascript")
        else:
            route.fulfill(body=PAGE, content_type="text/html", headers=headers)

    page = browser.new_page()
    page.route("**/*", answer)
    page.goto("http://page.example/")
    try:
        page.wait_for_function(condition)
        return "waits"
    except Error as error:
        return "EvalError" if "EvalError" in str(error) else str(error)
    finally:
        page.close()


expected = {
    ("", LATER): "waits",
    (POLICY, NOW): "waits",
    (POLICY, LATER): "EvalError",
    (POLICY, f"() => {LATER}"): "waits",
}
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=sys.argv[1], args=["--no-sandbox"])
    print(f"Chromium {browser.version}")
    found = {key: outcome(browser, *key) for key in expected}
    browser.close()
for (policy, condition), what in found.items():
    print(f"{policy or 'no policy'}: {condition}: {what}")
if found != expected:
    sys.exit("the behaviour has changed")
print("as described")
PY
