"""The page pushes a browser's camera, here Chromium's own test pattern, into a session."""

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.commands import require_chromium
from tests.support.page_driver import CHROMIUM_FLAGS, PATIENCE_MS, chromium, free_port, opened, served

pytestmark = pytest.mark.slow

SOME_SECONDS = re.compile(r"\d:(?!00|01)\d\d")
FAKE_CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("page") / "data", free_port()) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(*FAKE_CAMERA) as launched:
        yield launched


@pytest.fixture
def page(browser: Browser, server: str) -> Iterator[Page]:
    with opened(browser, f"{server}/#sessions") as page:
        yield page


def start(page: Page) -> None:
    page.get_by_role("button", name="Use my camera").click()
    expect(page.locator("#session-state")).to_have_text("running", timeout=PATIENCE_MS, ignore_case=True)
    expect(page.locator("#position-text")).to_contain_text(SOME_SECONDS, timeout=PATIENCE_MS)


def newest(server: str) -> dict[str, object]:
    session: dict[str, object] = httpx.get(f"{server}/v1/sessions", timeout=120).json()["sessions"][0]
    return session


def test_the_camera_is_analysed_until_it_is_stopped(page: Page, server: str) -> None:
    start(page)
    session = newest(server)
    assert session["source"] == {"kind": "push", "stream": None, "max_down_s": 30.0}
    assert session["pace"] == "realtime"
    assert str(session["name"]).startswith("fake_device")
    page.get_by_role("button", name="Stop my camera").click()
    expect(page.locator("#session-state")).to_have_text("completed", timeout=PATIENCE_MS, ignore_case=True)
    expect(page.get_by_role("button", name="Use my camera")).to_be_visible()


def test_stopping_the_session_releases_the_camera(page: Page) -> None:
    start(page)
    page.locator("#stop").click()
    expect(page.locator("#session-state")).to_have_text("stopped", timeout=PATIENCE_MS, ignore_case=True)
    expect(page.get_by_role("button", name="Use my camera")).to_be_visible(timeout=PATIENCE_MS)


def test_closing_the_page_leaves_its_session_reconnecting(browser: Browser, server: str) -> None:
    with opened(browser, f"{server}/#sessions") as page:
        start(page)
        watched = newest(server)
    with opened(browser, f"{server}/#session={watched['id']}") as page:
        expect(page.locator("#session-state")).to_have_text("reconnecting", timeout=PATIENCE_MS, ignore_case=True)


def test_a_browser_without_a_camera_shows_an_error(browser: Browser, server: str) -> None:
    with (
        browser.browser_type.launch(executable_path=require_chromium(), args=CHROMIUM_FLAGS) as bare,
        opened(bare, f"{server}/#sessions") as page,
    ):
        page.get_by_role("button", name="Use my camera").click()
        expect(page.locator("#form-error")).to_contain_text("camera", timeout=PATIENCE_MS)
