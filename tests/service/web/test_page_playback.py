"""An uploaded video plays in the page, and the plot is its timeline."""

import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from service.schemas import Session
from tests.support.page_driver import PATIENCE_MS, SAMPLE, opened

pytestmark = pytest.mark.slow

HAS_FRAMES = "() => { const v = document.getElementById('video'); return v.readyState >= 2 && v.videoWidth > 0; }"
STATE = """() => {
    const { paused: isPaused, currentTime: at_s } = document.getElementById('video');
    return { isPaused, at_s, caption: document.getElementById('player-status').textContent };
}"""
NOTE_SEEKS = """() => {
    window.seeks = [];
    const video = document.getElementById('video');
    video.addEventListener('seeking', () => window.seeks.push(video.currentTime));
}"""
HEAD_PX = """() => {
    const head = document.querySelector('#plot .head').getBoundingClientRect();
    return head.width > 0 ? head.left - document.getElementById('plot').getBoundingClientRect().left : null;
}"""
# Whether a name stands right of the plotted scores.
IS_NAMED = """() => {
    const canvas = document.querySelector('#plot canvas');
    const [margin, axis] = [100 * devicePixelRatio, 30 * devicePixelRatio].map(Math.round);
    const { data } = canvas.getContext('2d').getImageData(canvas.width - margin, 0, margin, canvas.height - axis);
    return data.some((value) => value > 0);
}"""
# How opaque the bars of the actions are, above their names.
BARS = """() => {
    const canvas = document.querySelector('#plot canvas');
    const row = canvas.getContext('2d').getImageData(0, 4 * devicePixelRatio, canvas.width, 1).data;
    return [...new Set(row.filter((_, at) => at % 4 === 3))].filter((alpha) => alpha > 40 && alpha < 200);
}"""


def plays(page: Page) -> Locator:
    """The buttons of the events, newest first."""
    return page.get_by_role("button", name=re.compile(", play$"))


def start_s(page: Page, row: int) -> float:
    minutes, seconds = plays(page).nth(row).inner_text().split(":")
    return 60 * int(minutes) + float(seconds)


def seeks(page: Page) -> list[float]:
    found: Any = page.evaluate("window.seeks")
    return [float(at_s) for at_s in found]


def at_rest(page: Page, at_s: float) -> float:
    """Shows the video at a time, paused; where the plot has the play-head then, in pixels."""
    page.evaluate("(at_s) => { const v = document.getElementById('video'); v.pause(); v.currentTime = at_s; }", at_s)
    page.wait_for_function("() => !document.getElementById('video').seeking")
    # A report of the time before may still be drawn in the next frame.
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return float(page.evaluate(HEAD_PX))


def test_an_event_plays_in_the_video_and_the_arrow_keys_lead_to_the_next(
    browser: Browser, url: str, analysed: Session
) -> None:
    with opened(browser, f"{url}/#session={analysed.id}") as page:
        page.wait_for_function(HAS_FRAMES)
        expect(page.get_by_label("Video of the session")).to_be_visible()
        expect(page.locator("#snapshot")).to_be_hidden()
        page.evaluate(NOTE_SEEKS)
        expect(plays(page).nth(1)).to_be_visible(timeout=PATIENCE_MS)
        plays(page).first.click()
        page.wait_for_function("() => window.seeks.length === 1")
        expect(page.locator("#player-status")).to_contain_text(plays(page).first.inner_text())
        expect(page.locator("tr[aria-current]").get_by_role("button").first).to_have_text(
            plays(page).first.inner_text()
        )
        page.wait_for_function(f"() => ({BARS})().length >= 1 && Math.max(...({BARS})()) > 100")
        page.keyboard.press("ArrowDown")
        page.wait_for_function("() => window.seeks.length === 2")
        assert seeks(page) == pytest.approx([start_s(page, 0) - 1, start_s(page, 1) - 1], abs=0.06)
        expect(page.locator("tr[aria-current]")).to_have_count(1)
        page.get_by_role("button", name="Show the latest snapshot").click()
        expect(page.locator("#snapshot")).to_be_visible()
        page.wait_for_function(f"() => ({HEAD_PX})() === null")
        page.get_by_role("button", name="Play the video").click()
        expect(page.get_by_label("Video of the session")).to_be_visible()
        # The events can be taken away.
        with page.expect_download() as downloaded:
            page.get_by_role("button", name="WebVTT").click()
        assert downloaded.value.suggested_filename == "mocap.mp4.vtt"
        assert downloaded.value.path().read_text().startswith("WEBVTT")
        explained = "The score of the frame at which the action started."
        expect(page.locator("#events td[title]").first).to_have_attribute("title", explained)
        expect(page.locator("#latest-score")).to_have_attribute("title", explained)
        plays(page).first.click()
        expect(page.locator("#player-status")).not_to_be_empty()
        # Chosen again, a session shows nothing of what played before.
        page.evaluate("location.hash = 'sessions'")
        expect(page.locator("#session")).to_be_hidden()
        page.evaluate(f"location.hash = 'session={analysed.id}'")
        page.wait_for_function(HAS_FRAMES)
        expect(page.get_by_label("Video of the session")).to_be_visible()
        assert page.evaluate(STATE) == {"isPaused": True, "at_s": 0, "caption": ""}


def test_the_plot_has_a_play_head_and_a_click_on_it_seeks(browser: Browser, url: str, analysed: Session) -> None:
    with opened(browser, f"{url}/#session={analysed.id}") as page:
        page.wait_for_function(HAS_FRAMES)
        plot = page.locator("#plot")
        box = plot.bounding_box()
        assert box is not None
        first_px = at_rest(page, 5.0)
        second_px = at_rest(page, 8.0)
        assert second_px - first_px == pytest.approx((box["width"] - 152) * 3 / 30, abs=2)
        page.evaluate(NOTE_SEEKS)
        plot.click(position={"x": first_px, "y": 120})
        page.wait_for_function("() => window.seeks.length === 1")
        assert seeks(page) == pytest.approx([5.0], abs=0.2)
        # Beyond the page of the plot, the plot turns it.
        assert at_rest(page, 38.0) < first_px + (box["width"] - 152)
        # Where the plot ends within an action, its score is named.
        page.locator("#scrub-range").fill(str(round(2 * start_s(page, 0) + 1) / 2))
        page.wait_for_function(IS_NAMED)


def test_a_running_upload_shows_snapshots_until_the_video_is_asked_for(browser: Browser, url: str) -> None:
    with SAMPLE.open("rb") as video:
        options = {"session": '{"pace": "realtime", "name": "slow"}'}
        answer = httpx.post(f"{url}/v1/sessions", files={"file": video}, data=options, timeout=120)
    session = answer.raise_for_status().json()
    with opened(browser, f"{url}/#session={session['id']}") as page:
        expect(page.get_by_role("button", name="Play the video")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.locator("#snapshot")).to_be_visible()
        page.get_by_role("button", name="Play the video").click()
        page.wait_for_function(HAS_FRAMES)
        newest = page.get_by_role("button", name="Go to newest")
        newest.click()
        pause = page.get_by_role("button", name="Pause plot")
        pause.click()
        expect(newest).to_be_visible()
        page.get_by_role("button", name="Stop").click()
        expect(page.locator("#session-state")).to_have_text("stopped", timeout=PATIENCE_MS)
        expect(page.get_by_role("button", name="Zoom in")).to_be_visible()
        expect(newest).to_be_hidden()


def test_the_video_stays_in_view_however_far_down_the_list_an_event_is(
    browser: Browser, url: str, analysed: Session
) -> None:
    with opened(browser, f"{url}/#session={analysed.id}") as page:
        page.set_viewport_size({"width": 1280, "height": 700})
        plays(page).last.click()
        expect(page.locator("#player-status")).not_to_have_text("", timeout=PATIENCE_MS)
        expect(page.locator("#video")).to_be_in_viewport(ratio=0.95)
        expect(plays(page).last).to_be_in_viewport(ratio=1)
