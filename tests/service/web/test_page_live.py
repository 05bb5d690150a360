"""Live sessions come first in the list, and a hidden page counts their actions and notifies of them."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Route, WebSocketRoute, expect

from service.schemas import Session
from tests.support.page_driver import PATIENCE_MS, opened, set_hidden, stop, submit

pytestmark = pytest.mark.slow

AGE = re.compile(r"last frame (\d+ s|\d+ min) ago")
WALL_CLOCK = re.compile(r"^(.*, )?\d\d:\d\d:\d\d$")
WHY_LATE = """async ([total, decode, queue, infer]) => {
    const { whyLate } = await import("./static/lateness.js");
    return whyLate({ total, decode, queue, infer });
}"""
NOTE_NOTIFICATIONS = """() => {
    window.shown = [];
    window.Notification = class {
        static permission = "default";
        static async requestPermission() { return (window.Notification.permission = "granted"); }
        constructor(title, { body }) { window.shown.push(this); Object.assign(this, { title, body }); }
    };
}"""
NOTE_TONES = """() => {
    window.tones = 0;
    const { start } = OscillatorNode.prototype;
    OscillatorNode.prototype.start = function () { window.tones += 1; start.call(this); };
}"""


def test_live_sessions_come_first_with_a_still_and_the_age_of_their_last_action(
    browser: Browser, url: str, long_video: Path
) -> None:
    live = submit(url, long_video, "live")
    broken = {"file": ("broken.mp4", b"no video")}
    httpx.post(f"{url}/v1/sessions", files=broken, timeout=120).raise_for_status()
    with opened(browser, f"{url}/#sessions") as page:
        items = page.locator("#sessions li")
        expect(items.first).to_contain_text(re.compile(r"live.*[a-zAB]+ \d+ s ago", re.DOTALL), timeout=PATIENCE_MS)
        expect(items.nth(1)).to_contain_text("broken.mp4")
        expect(items.first.locator("canvas")).to_be_visible(timeout=PATIENCE_MS)
        expect(items.nth(1).locator("canvas")).to_be_hidden()
        assert Axe().run(page).violations_count == 0
    stop(url, live)


def test_a_row_counts_the_actions_since_it_was_looked_at(browser: Browser, url: str, long_video: Path) -> None:
    live = submit(url, long_video, "yard")
    with opened(browser, f"{url}/#sessions") as page:
        row = page.get_by_role("link", name="yard")
        expect(row).to_contain_text(re.compile(r"[1-9]\d* new"), timeout=PATIENCE_MS)
        assert Axe().run(page).violations_count == 0
        row.click()
        expect(page.locator("#session-title")).to_have_text("yard", timeout=PATIENCE_MS)
        expect(row).not_to_contain_text("new")
        # What the user sees is not new.
        rows = page.locator("#events th")
        before = rows.count()
        page.wait_for_function("(before) => document.querySelectorAll('#events th').length > before", arg=before)
        expect(row).not_to_contain_text("new")
        set_hidden(page, True)
        expect(row).to_contain_text("new", timeout=PATIENCE_MS)
        set_hidden(page, False)
        expect(row).not_to_contain_text("new")
    stop(url, live)


def test_a_hidden_page_counts_actions_and_notifies_once_it_was_allowed_to(
    browser: Browser, url: str, long_video: Path
) -> None:
    live = submit(url, long_video, "gate")
    with opened(browser, "about:blank") as page:
        page.add_init_script(f"({NOTE_NOTIFICATIONS})()")
        page.goto(f"{url}/#session={live.id}")
        expect(page.locator("#connection")).to_have_text("Connected", timeout=PATIENCE_MS)
        page.get_by_role("button", name="Notify me of actions").click()
        expect(page.get_by_role("button", name="Notify me of actions")).to_be_hidden()
        set_hidden(page, True)
        expect(page).to_have_title(re.compile(r"\(\d+\) gate · CAKE"), timeout=PATIENCE_MS)
        assert re.fullmatch(r"[a-zAB ]+, \d+%", page.evaluate("window.shown[0].title"))
        set_hidden(page, False)
        expect(page).to_have_title("gate · CAKE")
    stop(url, live)


def test_a_hidden_page_notifies_of_all_sessions_and_misses_none_when_its_connection_breaks(
    browser: Browser, url: str, analysed: Session, long_video: Path
) -> None:
    connections: list[WebSocketRoute] = []

    def connect(connection: WebSocketRoute) -> None:
        connection.connect_to_server()
        connections.append(connection)

    with opened(browser, "about:blank") as page:
        page.route_web_socket(re.compile("/v1/events"), connect)
        page.add_init_script(f"({NOTE_NOTIFICATIONS})()")
        page.goto(f"{url}/#session={analysed.id}")
        page.get_by_role("button", name="Notify me of actions").click()
        expect(page).to_have_title("mocap.mp4 · CAKE")
        set_hidden(page, True)
        live = submit(url, long_video, "yard")
        expect(page).to_have_title(re.compile(r"\(\d+\) mocap.mp4 · CAKE"), timeout=PATIENCE_MS)
        assert page.evaluate("window.shown[0].body") == "yard"
        connections[0].close(code=1012)
        before = page.evaluate("window.shown.length")
        page.wait_for_function("(before) => window.shown.length > before + 1", arg=before, timeout=PATIENCE_MS)
        assert len(connections) > 1
        starts = stop(url, live)
        expect(page).to_have_title(f"({starts}) mocap.mp4 · CAKE", timeout=PATIENCE_MS)
        set_hidden(page, False)
        page.evaluate("window.shown[0].onclick()")
        expect(page.locator("#session-title")).to_have_text("yard")


def test_actions_are_heard_once_sound_was_turned_on_and_until_it_is_turned_off(
    browser: Browser, url: str, long_video: Path
) -> None:
    with opened(browser, "about:blank") as page:
        page.add_init_script(f"({NOTE_TONES})()")
        page.goto(f"{url}/#sessions")
        sound = page.get_by_role("button", name="Sound")
        expect(sound).to_have_attribute("aria-pressed", "false")
        sound.click()
        expect(sound).to_have_attribute("aria-pressed", "true")
        # One that shows how it sounds.
        assert page.evaluate("window.tones") == 1
        live = submit(url, long_video, "gate")
        page.wait_for_function("() => window.tones > 1", timeout=PATIENCE_MS)
        sound.click()
        expect(sound).to_have_attribute("aria-pressed", "false")
        before = page.evaluate("window.tones")
        page.goto(f"{url}/#session={live.id}")
        expect(page.locator("#events tr").first).to_be_visible(timeout=PATIENCE_MS)
        stop(url, live)
        expect(page.locator("#session-state")).to_have_text("stopped", timeout=PATIENCE_MS)
        assert page.evaluate("window.tones") == before


def test_a_session_explains_quiet_decoding_and_scores(browser: Browser, url: str, analysed: Session) -> None:
    def of_quiet_camera(route: Route) -> None:
        session = route.fetch().json()
        route.fulfill(json=session | {"video": session["video"] | {"decoding": "on_motion"}})

    with opened(browser, "about:blank") as page:
        page.route(f"{url}{analysed.links.self}", of_quiet_camera)
        page.goto(f"{url}/#session={analysed.id}")
        expect(page.locator("#session-facts")).to_contain_text("decodes when something moves", timeout=PATIENCE_MS)
        score = page.locator("#events td", has_text="%").first
        expect(score).to_have_attribute("title", "The score of the frame at which the action started.")


def test_page_and_wall_say_how_old_the_last_frame_of_a_silent_camera_is_and_when_it_was(
    browser: Browser, url: str, analysed: Session
) -> None:
    last_frame_at = datetime.now(UTC) - timedelta(seconds=20)

    def silent(session: dict[str, Any]) -> dict[str, Any]:
        video = session["video"] | {"live": True}
        return session | {
            "state": "running",
            "video": video,
            "last_frame_at": last_frame_at.isoformat(),
            "name": "gate",
        }

    def answer(route: Route) -> None:
        if urlsplit(route.request.url).path == analysed.links.self:
            route.fulfill(json=silent(route.fetch().json()))
        elif "state=running" in route.request.url:
            session = httpx.get(f"{url}{analysed.links.self}", timeout=120).json()
            route.fulfill(json={"sessions": [silent(session)], "next": None})
        else:
            route.fallback()

    with opened(browser, "about:blank") as page:
        page.route("**/v1/sessions*", answer)
        page.route(f"{url}{analysed.links.self}", answer)
        page.goto(f"{url}/#session={analysed.id}")
        expect(page.locator("#session-silence")).to_have_text(AGE, timeout=PATIENCE_MS)
        # All times are those of the clock on the wall.
        expect(page.locator("#events .note td").first).to_have_text(WALL_CLOCK)
        expect(page.locator("#plot-misses .link").first).to_have_text(WALL_CLOCK, timeout=PATIENCE_MS)
        assert page.evaluate(WHY_LATE, [0.9, 0.1, 0.5, 0.1]) == ""
        waited = "because this server is busy: for 3.5 s it waited for the detector."
        late = page.evaluate(WHY_LATE, [4.2, 0.1, 3.5, 0.1])
        assert late == f"Published 4.2 s after its frame arrived, {waited}"
        assert "for 3.8 s it waited behind earlier frames" in page.evaluate(WHY_LATE, [4.0, 0.1, 0.0, 0.1])
        page.goto(f"{url}/#wall")
        expect(page.locator(".tile .state", has_text=AGE)).to_be_visible(timeout=PATIENCE_MS)
        assert Axe().run(page).violations_count == 0
