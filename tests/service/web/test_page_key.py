"""The page and the documentation in a real browser, on a server that requires API keys."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.support.page_driver import PATIENCE_MS, chromium, free_port, opened, served
from tests.support.paths import ROOT, SAMPLE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page") / "data"


@pytest.fixture(scope="module")
def key(data_dir: Path) -> str:
    return made_key(data_dir, "all", "sessions:read", "sessions:write", "events:read")


@pytest.fixture(scope="module")
def server(data_dir: Path, key: str) -> Iterator[str]:
    with served(data_dir, free_port()) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


def made_key(data_dir: Path, name: str, *scopes: str) -> str:
    """In a separate process: Playwright's loop runs in this one."""
    options = [option for scope in scopes for option in ("--scope", scope)]
    command = [sys.executable, "-m", "service.cli.main", "keys", "create", "--name", name, "--data-dir", str(data_dir)]
    return subprocess.run([*command, *options], check=True, capture_output=True, text=True, cwd=ROOT).stdout.strip()


def fill(page: Page, key: str) -> None:
    form = page.get_by_role("dialog")
    form.get_by_label("API key").fill(key)
    form.get_by_role("button", name="Continue").click()


def enter(page: Page, key: str) -> None:
    """Enter a well-formed key, upon which the page reloads."""
    with page.expect_navigation():
        fill(page, key)


def test_with_a_key_a_video_is_submitted_and_its_events_are_followed(browser: Browser, server: str, key: str) -> None:
    with opened(browser, f"{server}/#sessions") as page:
        addresses: list[str] = []
        page.on("request", lambda request: addresses.append(request.url))
        page.on("websocket", lambda socket: addresses.append(socket.url))
        enter(page, key)
        page.get_by_label("Real time").check()
        page.get_by_label("Choose a video").set_input_files(SAMPLE)
        expect(page.locator("#session-state")).to_have_text("running", timeout=PATIENCE_MS)
        expect(page.locator("#connection")).to_have_text("Connected", timeout=PATIENCE_MS)
        table = page.get_by_role("table", name="Events")
        expect(table.get_by_role("rowheader").first).to_be_visible(timeout=PATIENCE_MS)
        page.reload()
        expect(table.get_by_role("rowheader").first).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.get_by_role("button", name="Stop").click()
        expect(page.locator("#session-state")).to_have_text("stopped", timeout=PATIENCE_MS)
        page.get_by_role("button", name="Play the video").click()
        page.wait_for_function("() => document.getElementById('video').videoWidth > 0")
        assert any("/events?ticket=" in address for address in addresses)
        assert any("/video?ticket=" in address for address in addresses)
        assert not any(key in address for address in addresses)
        assert page.evaluate("[localStorage.length, document.cookie, sessionStorage.length]") == [0, "", 1]


def test_a_wrong_key_is_reported_and_the_next_tab_asks_for_a_key(browser: Browser, server: str, key: str) -> None:
    with opened(browser, f"{server}/#sessions") as page:
        fill(page, "no key at all")
        expect(page.get_by_role("alert").filter(has_text="starts with cake_")).to_be_visible()
        enter(page, f"{key[:-1]}{'b' if key[-1] == 'a' else 'a'}")
        expect(page.get_by_role("alert").filter(has_text="unknown")).to_be_visible(timeout=PATIENCE_MS)
        enter(page, key)
        expect(page.get_by_label("Model", exact=True)).to_have_value("mocap", timeout=PATIENCE_MS)
        other = page.context.new_page()
        other.goto(f"{server}/#sessions")
        expect(other.get_by_role("dialog")).to_be_visible(timeout=PATIENCE_MS)


def test_the_key_form_can_be_dismissed_and_passes_axe(browser: Browser, server: str) -> None:
    for size, scheme in (("phone", "dark"), ("wide", "light")):
        with opened(browser, f"{server}/#sessions", size=size, scheme=scheme) as page:
            expect(page.get_by_role("dialog")).to_be_visible(timeout=PATIENCE_MS)
            results = Axe().run(page)
            assert results.violations_count == 0, results.generate_report()
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
            expect(page.get_by_role("dialog")).to_contain_text("cake keys create")
            page.get_by_role("button", name="Not now").click()
            expect(page.locator("#sessions-error")).to_have_text("Enter an API key to see sessions.")
            expect(page.locator("#sessions-none")).to_be_hidden()
            expect(page.get_by_role("dialog")).to_be_hidden()
            page.get_by_role("button", name="Key", exact=True).click()
            expect(page.get_by_role("dialog")).to_be_visible()


def test_a_key_without_the_events_scope_shows_which_scope_is_missing(
    browser: Browser, server: str, data_dir: Path, key: str
) -> None:
    blind = made_key(data_dir, "blind", "sessions:read", "sessions:write")
    with opened(browser, f"{server}/#sessions") as page:
        enter(page, blind)
        page.get_by_label("Choose a video").set_input_files(
            {"name": "notes.mp4", "mimeType": "video/mp4", "buffer": b"no video"}
        )
        expect(page.locator("#connection")).to_contain_text("events:read", timeout=PATIENCE_MS)
        page.get_by_role("navigation", name="Views").get_by_role("link", name="Actions").click()
        expect(page.locator("#inbox-error")).to_contain_text("events:read", timeout=PATIENCE_MS)
        page.get_by_role("link", name="Server").click()
        expect(page.locator("#server-error")).to_contain_text("metrics:read", timeout=PATIENCE_MS)
        expect(page.get_by_role("table", name="Models")).to_contain_text("mocap")


def test_the_documentation_authorizes_and_sends_requests(browser: Browser, server: str, key: str) -> None:
    with opened(browser, f"{server}/docs") as page:
        page.get_by_role("button", name="Authorize").first.click()
        form = page.locator(".modal-ux")
        form.get_by_role("textbox").fill(key)
        form.get_by_role("button", name="Apply credentials").click()
        form.get_by_role("button", name="Close").click()
        page.locator("#operations-sessions-list_sessions").get_by_role("button").first.click()
        page.get_by_role("button", name="Try it out").click()
        with page.expect_response("**/v1/sessions?**") as answer:
            page.get_by_role("button", name="Execute").click()
        assert answer.value.status == 200


def test_keys_are_created_limited_and_revoked_with_the_keyboard(browser: Browser, server: str, data_dir: Path) -> None:
    admin = made_key(data_dir, "operator", "admin")
    with opened(browser, f"{server}/#keys", size="phone", scheme="dark") as page:
        enter(page, admin)
        keys = page.locator("#keys-list")
        expect(keys.get_by_role("listitem").filter(has_text="operator")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_role("link", name="Keys")).to_have_attribute("aria-current", "page")

        page.get_by_role("button", name="New key").focus()
        page.keyboard.press("Enter")
        form = page.get_by_role("dialog", name="New API key")
        form.get_by_label("Name").focus()
        page.keyboard.type("yard")
        form.get_by_label("Only cameras").fill("site=north, site=south")
        form.get_by_label("Concurrent sessions").fill("3")
        form.get_by_label("Expires").fill("2099-01-01T12:00")
        page.keyboard.press("Enter")
        shown = page.get_by_role("dialog", name="The new key").get_by_label("API key")
        expect(shown).to_have_value(re.compile("cake_[0-9a-f]{16}_"), timeout=PATIENCE_MS)
        made = shown.input_value()
        sessions = httpx.get(f"{server}/v1/sessions", headers={"Authorization": f"Bearer {made}"}, timeout=120)
        assert sessions.status_code == 200
        page.get_by_role("button", name="Done").press("Enter")
        expect(page.locator("#key-made-text")).to_have_value("")

        card = keys.get_by_role("listitem").filter(has_text="yard")
        expect(card).to_contain_text("3 sessions")
        expect(card).to_contain_text("only site=north or site=south")
        expect(card).to_contain_text("events:read, sessions:read, sessions:write")
        page.get_by_role("button", name="Change yard").press("Enter")
        form = page.get_by_role("dialog", name="Change yard")
        expect(form.get_by_label("Only cameras")).to_have_value("site=north, site=south")
        form.get_by_label("sessions:write").uncheck()
        form.get_by_label("Concurrent sessions").fill("1")
        form.get_by_label("Concurrent sessions").press("Enter")
        expect(card).to_contain_text("1 sessions")
        expect(card).not_to_contain_text("sessions:write")
        expect(card).to_contain_text(re.compile("Expires.*2099|Expires.*Jan"))
        results = Axe().run(page)
        assert results.violations_count == 0, results.generate_report()
        for width in (360, 768, 2560):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width

        page.on("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Revoke yard").press("Enter")
        expect(card).to_have_count(0, timeout=PATIENCE_MS)
        page.get_by_label("Show revoked keys").check()
        expect(card).to_contain_text("Revoked")


def test_the_keys_are_not_offered_to_keys_without_admin(browser: Browser, server: str, key: str) -> None:
    with opened(browser, f"{server}/#sessions") as page:
        enter(page, key)
        with page.expect_response(lambda response: response.url.endswith("/v1/identity")):
            page.reload()
        expect(page.get_by_role("link", name="Server")).to_be_visible()
        expect(page.get_by_role("link", name="Keys")).to_have_count(0)
