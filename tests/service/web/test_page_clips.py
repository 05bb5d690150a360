"""A click on an event plays its clip where no video can be played; the arrow keys lead from one to the next."""

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.page_driver import PATIENCE_MS, SAMPLE, chromium, free_port, opened, served

pytestmark = pytest.mark.slow

PLAYS = "() => { const v = document.getElementById('clip-video'); return v.readyState >= 2 && v.videoWidth > 0; }"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("clips") / "data", free_port()) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


def analysed(server: str, video: Path) -> str:
    """Id of a session that has analysed the video."""
    with video.open("rb") as file:
        answer = httpx.post(f"{server}/v1/sessions", files={"file": (video.name, file)}, timeout=120)
    session = answer.raise_for_status().json()
    # The stream ends with the session.
    events = f"{server}{session['links']['events']}"
    httpx.get(events, headers={"Accept": "text/event-stream"}, timeout=PATIENCE_MS / 1000)
    return str(session["id"])


def shown_s(page: Page) -> float:
    return float(page.evaluate("document.getElementById('clip-video').currentTime"))


def test_a_click_on_an_event_plays_its_clip_and_arrow_keys_the_next(
    browser: Browser, server: str, tmp_path: Path
) -> None:
    session = analysed(server, transport_stream(tmp_path))
    with opened(browser, f"{server}/#session={session}") as page:
        expect(page.locator("#unplayable")).to_contain_text("cannot play", timeout=PATIENCE_MS)
        expect(page.get_by_label("Latest snapshot of the video")).to_be_visible()
        plays = page.get_by_role("button", name=re.compile(", play$"))
        expect(plays.nth(1)).to_be_visible(timeout=PATIENCE_MS)
        plays.first.click()
        page.wait_for_function(PLAYS)
        expect(page.get_by_label("Latest snapshot of the video")).to_be_hidden()
        first = page.locator("#clip-status").inner_text()
        assert "The clip begins at" in first
        assert page.locator("tr[aria-current]").count() == 1
        page.keyboard.press("ArrowDown")
        expect(page.locator("#clip-status")).not_to_have_text(first)
        expect(page.locator("#clip-status")).to_contain_text("The clip begins at", timeout=PATIENCE_MS)
        page.wait_for_function(PLAYS)
        expect(page.locator("tr[aria-current]")).to_have_count(1)
        expect(page.locator("tr[aria-current]").get_by_role("button").first).to_have_text(plays.nth(1).inner_text())
        expect(page.get_by_role("link", name="Download")).to_be_visible()
        page.get_by_role("button", name="Show the latest snapshot").click()
        expect(page.get_by_label("Latest snapshot of the video")).to_be_visible()
        expect(page.get_by_label("Clip of an action")).to_be_hidden()


def test_a_video_that_browsers_do_not_play_says_so(browser: Browser, server: str, tmp_path: Path) -> None:
    session = analysed(server, old_codec(tmp_path))
    with opened(browser, f"{server}/#session={session}") as page:
        page.get_by_role("button", name=re.compile(", play$")).first.click()
        expect(page.locator("#clip-status")).to_contain_text("Convert the video to H.264", timeout=PATIENCE_MS)


def transport_stream(folder: Path) -> Path:
    """The sample in a container that Chromium does not play."""
    path = folder / "sample.ts"
    with av.open(SAMPLE) as source, av.open(path, "w", "mpegts") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return path


def old_codec(folder: Path) -> Path:
    """The sample as MPEG-4 part 2."""
    path = folder / "old.avi"
    with av.open(str(SAMPLE)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("mpeg4", rate=source.streams.video[0].average_rate, options={"qscale": "2"})
        stream.width, stream.height = source.streams.video[0].width, source.streams.video[0].height
        stream.pix_fmt = "yuv420p"
        for number, frame in enumerate(source.decode(video=0)):
            frame.pts, frame.time_base = number, 1 / Fraction(source.streams.video[0].average_rate or 25)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return path
