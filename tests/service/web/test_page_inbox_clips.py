"""The inbox says what becomes of the clip of a new action of a live source, and shows its still once it is there."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from service.schemas import Session
from tests.support.page_driver import PATIENCE_MS, action_name, free_port, opened, served, stop, write_streamable
from tests.support.video_server import serve_folder

pytestmark = pytest.mark.slow

KEPT, NOT_KEPT = "roll", "punch"
OFF = "Clips of this action are off"
IS_PAINTED = """(canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data
    .some((value) => value > 0)"""
PLAYS = "() => { const v = document.getElementById('clip-video'); return v.readyState >= 2 && v.videoWidth > 0; }"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its clips are complete long after the tests have ended, or when their session ends."""
    environ = {"CAKE_CLIPS": KEPT, "CAKE_CLIP_AFTER_S": "120"}
    with served(tmp_path_factory.mktemp("clips") / "data", free_port(), environ=environ) as url:
        yield url


@pytest.fixture
def live(server: str, long_video: Path, tmp_path: Path) -> Iterator[Session]:
    """A source that is not stored, as a camera is not."""
    write_streamable(long_video, tmp_path / "far.mp4")
    with serve_folder(tmp_path) as address:
        options = {"source": {"url": f"http://{address}/far.mp4"}, "name": "far", "pace": "realtime"}
        answer = httpx.post(f"{server}/v1/sessions", json=options, timeout=120)
        yield Session.model_validate_json(answer.raise_for_status().content)


def item(page: Page, label: str) -> Locator:
    """The newest of this action."""
    return page.locator("#inbox-list li").filter(has_text=action_name(label)).first


def test_a_new_action_says_that_its_clip_follows_and_shows_it_without_a_reload(
    browser: Browser, server: str, live: Session
) -> None:
    with opened(browser, f"{server}/#inbox") as page:
        missing = item(page, KEPT).locator(".missing")
        expect(missing).to_have_text("Clip follows", timeout=PATIENCE_MS)
        # Its clip ends early.
        stop(server, live)
        expect(missing).to_have_text("", timeout=PATIENCE_MS)
        page.wait_for_function(IS_PAINTED, arg=item(page, KEPT).locator("canvas").element_handle())
        item(page, KEPT).get_by_role("link").click()
        page.wait_for_function(PLAYS)


def test_an_action_that_is_opened_before_its_clip_is_complete_plays_it_once_it_is(
    browser: Browser, server: str, live: Session
) -> None:
    with opened(browser, f"{server}/#inbox") as page:
        expect(item(page, KEPT).locator(".missing")).to_have_text("Clip follows", timeout=PATIENCE_MS)
        item(page, KEPT).get_by_role("link").click()
        expect(page.locator("#clip-status")).to_contain_text("still being recorded", timeout=PATIENCE_MS)
        # The camera is still to be seen.
        expect(page.locator("#snapshot")).to_be_visible()
        stop(server, live)
        page.wait_for_function(PLAYS)
        expect(page.locator("#clip-status")).to_contain_text("The clip begins at")


def test_an_action_whose_clips_are_not_kept_says_so(browser: Browser, server: str, live: Session) -> None:
    with opened(browser, f"{server}/#inbox") as page:
        expect(item(page, NOT_KEPT).locator(".missing")).to_have_text(OFF, timeout=PATIENCE_MS)
        item(page, NOT_KEPT).get_by_role("link").click()
        expect(page.locator("#clip-status")).to_contain_text("has not named it in CAKE_CLIPS", timeout=PATIENCE_MS)
    stop(server, live)
