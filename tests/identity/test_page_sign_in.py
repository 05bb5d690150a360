"""A person signs in on the page, in a real browser, at a real provider."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.support.identity_provider import Provider, identity_provider
from tests.support.page_driver import PATIENCE_MS, chromium, opened, served

pytestmark = pytest.mark.slow

ROLES = [
    {"groups": ["operators"], "scopes": ["admin"]},
    {"groups": ["guards"], "scopes": ["sessions:read", "sessions:write", "events:read"]},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sign-in")


@pytest.fixture(scope="module")
def provider(folder: Path) -> Iterator[Provider]:
    with identity_provider(folder) as running:
        yield running


@pytest.fixture(scope="module")
def url(folder: Path, provider: Provider) -> Iterator[str]:
    (folder / "roles.json").write_text(json.dumps(ROLES))
    settings = provider.settings(folder / "roles.json", folder / "secret")
    environ = {f"CAKE_{name.upper()}": str(value) for name, value in settings.items()}
    with served(folder / "data", provider.callback_port, environ=environ) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def sign_in(page: Page, login: str) -> None:
    page.get_by_role("button", name="Sign in").click()
    page.get_by_placeholder("Enter any login").fill(login)
    page.get_by_placeholder("and password").fill("any")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()


def test_a_person_signs_in_follows_all_sessions_and_signs_out(browser: Browser, url: str) -> None:
    with opened(browser, f"{url}/#inbox", size="phone", scheme="dark") as page:
        dialog = page.get_by_role("dialog", name="Sign in")
        expect(dialog.get_by_role("button", name="Sign in")).to_be_visible(timeout=PATIENCE_MS)
        expect(dialog.get_by_label("or enter an API key")).to_be_visible()
        results = Axe().run(page)
        assert results.violations_count == 0, results.generate_report()
        sign_in(page, "ann+guards")
        expect(page.locator("#person-name")).to_have_text("ann", timeout=PATIENCE_MS)
        assert page.url == f"{url}/#inbox"
        assert page.evaluate("document.cookie") == ""
        expect(page.get_by_role("link", name="Keys")).to_have_count(0)
        for width in (360, 768, 2560):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width

        # The events of all sessions arrive over a WebSocket, which only has the cookie.
        with page.expect_websocket(lambda socket: "/v1/events" in socket.url) as opened_socket:
            page.reload()
        assert "ticket" not in opened_socket.value.url
        expect(page.locator("#inbox-error")).to_have_text("")
        # Writes have the cookie and the page's Origin.
        answer = page.evaluate("fetch('v1/tickets', {method: 'POST'}).then((answer) => answer.status)")
        assert answer == 201

        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url(re.compile("/session/end"))
        page.goto(f"{url}/#inbox")
        expect(page.get_by_role("button", name="Sign in")).to_be_visible(timeout=PATIENCE_MS)


def test_who_has_no_role_reads_why(browser: Browser, url: str) -> None:
    with opened(browser, f"{url}/#sessions") as page:
        sign_in(page, "eve+visitors")
        expect(page.get_by_role("alert").filter(has_text="no role")).to_be_visible(timeout=PATIENCE_MS)
        assert page.url == f"{url}/"
