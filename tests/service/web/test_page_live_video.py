"""Live cameras show real motion, over one connection; snapshots where the browser cannot play the video."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from service.schemas import Session
from tests.support.page_driver import PATIENCE_MS, opened, set_hidden, stop
from tests.support.rtsp_server import RtspServer, rtsp_server

pytestmark = pytest.mark.slow

WATCHED_SNAPSHOT = "/snapshot.jpg?watch=true"
PLAYED_S = "document.getElementById('live-video').currentTime"
PIXELS = "document.getElementById('snapshot').toDataURL()"


@contextmanager
def watching(browser: Browser, url: str, camera: RtspServer) -> Iterator[tuple[Page, list[str], list[WebSocketRoute]]]:
    """A page with a camera, the URLs that it requests and its live connections."""
    body = {"source": {"url": camera.url("fast")}, "name": "gate"}
    answer = httpx.post(f"{url}/v1/sessions", json=body, timeout=120).raise_for_status()
    session = Session.model_validate_json(answer.content)
    requested: list[str] = []
    connections: list[WebSocketRoute] = []

    def connect(connection: WebSocketRoute) -> None:
        connection.connect_to_server()
        connections.append(connection)

    with opened(browser, "about:blank") as page:
        page.on("request", lambda request: requested.append(request.url))
        page.route_web_socket(re.compile("/live"), connect)
        page.goto(f"{url}/#session={session.id}")
        yield page, requested, connections
    stop(url, session)


def plays_on(page: Page) -> None:
    """Wait until time advances and frames change."""
    for shown in (PLAYED_S, PIXELS):
        before = page.evaluate(shown)
        page.wait_for_function(f"(before) => {shown} !== before", arg=before, timeout=PATIENCE_MS)


def test_a_camera_plays_over_one_connection_and_continues_after_it_breaks_or_the_page_was_hidden(
    browser: Browser, url: str
) -> None:
    with rtsp_server() as camera, watching(browser, url, camera) as (page, requested, connections):
        page.wait_for_function(f"() => {PLAYED_S} > 1", timeout=PATIENCE_MS)
        expect(page.locator("#unplayable")).to_be_empty()
        assert len(connections) == 1
        del requested[:]
        plays_on(page)
        played_s = page.evaluate(PLAYED_S)
        page.wait_for_function(f"(before) => {PLAYED_S} > before + 3", arg=played_s, timeout=PATIENCE_MS)
        assert [url_ for url_ in requested if WATCHED_SNAPSHOT in url_] == []
        assert len([url_ for url_ in requested if "/scores" in url_]) <= 2
        connections[0].close(code=1012)
        page.wait_for_function(f"() => {PLAYED_S} < 1", timeout=PATIENCE_MS)
        plays_on(page)
        set_hidden(page, True)
        page.wait_for_function("() => !document.getElementById('live-video').hasAttribute('src')")
        set_hidden(page, False)
        page.wait_for_function(f"() => {PLAYED_S} > 0.5", timeout=PATIENCE_MS)
        camera.change_size()
        page.wait_for_function("() => document.getElementById('snapshot').width === 96", timeout=PATIENCE_MS)
        plays_on(page)
        assert Axe().run(page).violations_count == 0


def test_the_page_shows_snapshots_of_a_camera_whose_codec_browsers_do_not_play_and_says_so(
    browser: Browser, url: str, tmp_path: Path
) -> None:
    with rtsp_server() as camera:
        camera.stop()
        camera.start("jpeg")
        with watching(browser, url, camera) as (page, _, connections):
            expect(page.locator("#unplayable")).to_contain_text("H.264 only", timeout=PATIENCE_MS)
            with page.expect_request(lambda request: WATCHED_SNAPSHOT in request.url, timeout=PATIENCE_MS):
                before = page.evaluate(PIXELS)
            page.wait_for_function(f"(before) => {PIXELS} !== before", arg=before, timeout=PATIENCE_MS)
            # The connection continues with the scores only.
            page.wait_for_function("() => !document.getElementById('live-video').hasAttribute('src')")
            assert len(connections) == 2
            assert "video=false" in connections[1].url
