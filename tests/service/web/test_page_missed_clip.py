"""A missed action of a camera has a clip while its stream is in memory; the page plays it, or says why it has none."""

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from service.schemas import Session
from tests.support.page_driver import PATIENCE_MS, free_port, opened, served, stop
from tests.support.rtsp_server import rtsp_server

pytestmark = pytest.mark.slow

PLAYS = "() => { const v = document.getElementById('clip-video'); return v.readyState >= 2 && v.videoWidth > 0; }"
IS_STORED = "async (url) => (await fetch(url)).ok"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    environ = {"CAKE_CLIPS": "kick", "CAKE_CLIP_AFTER_S": "1", "CAKE_CLIP_MISSED_S": "120"}
    with served(tmp_path_factory.mktemp("clips") / "data", free_port(), environ=environ) as url:
        yield url


def report(page: Page, label: str, from_s: float, to_s: float) -> None:
    page.locator("#missed-label").select_option(label)
    page.locator("#missed-from").fill(str(from_s))
    page.locator("#missed-to").fill(str(to_s))
    page.get_by_role("button", name="Add", exact=True).click()


def test_the_clip_of_a_missed_action_of_a_camera_is_played_or_the_page_says_why_there_is_none(
    browser: Browser, server: str
) -> None:
    with rtsp_server() as camera:
        body = {"source": {"url": camera.url("fast")}, "name": "gate"}
        answer = httpx.post(f"{server}/v1/sessions", json=body, timeout=120).raise_for_status()
        session = Session.model_validate_json(answer.content)
        with opened(browser, f"{server}/#session={session.id}") as page:
            expect(page.locator("#events-clock")).to_have_text("local time", timeout=PATIENCE_MS)
            expect(page.locator("#position-text")).to_have_text(re.compile(r"0:0[2-9]\.\d analysed"))
            page.get_by_text("Missed actions", exact=True).click()
            report(page, "kick", 1.0, 1.5)
            expect(page.locator("#missed-result")).to_contain_text("Its clip will be there", timeout=PATIENCE_MS)
            (missed,) = httpx.get(f"{server}{session.links.self}/feedback", timeout=120).json()["feedback"]
            page.wait_for_function(IS_STORED, arg=f"{server}{session.links.self}/feedback/{missed['id']}/clip.mp4")
            page.locator("#missed-list").get_by_role("button", name=", play").click()
            page.wait_for_function(PLAYS)
            expect(page.locator("#clip-status")).to_contain_text("kick at ")
            report(page, "jump", 1.0, 1.5)
            expect(page.locator("#missed-result")).to_contain_text("It has no clip.", timeout=PATIENCE_MS)
            expect(page.locator("#missed-result")).to_contain_text("CAKE_CLIPS does not name this action")
        stop(server, session)
