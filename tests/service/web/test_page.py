"""The page in a real browser, against the real server, worker and shipped model."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from tests.support.page_driver import (
    PATIENCE_MS,
    SAMPLE,
    SIZES,
    action_name,
    chromium,
    free_port,
    opened,
    served,
    shown_actions,
    shown_state,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("page") / "data", free_port()) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture
def page(browser: Browser, server: str) -> Iterator[Page]:
    with opened(browser, f"{server}/#sessions") as page:
        yield page


@pytest.fixture(scope="module")
def analysed(server: str) -> str:
    """Id of a session that has analysed the whole sample."""
    with SAMPLE.open("rb") as video:
        answer = httpx.post(f"{server}/v1/sessions", files={"file": (SAMPLE.name, video)}, timeout=120)
    session = answer.raise_for_status().json()
    events = f"{server}{session['links']['events']}"
    # The stream ends with the session.
    stream = httpx.get(events, headers={"Accept": "text/event-stream"}, timeout=PATIENCE_MS / 1000).text
    assert '"state":"completed"' in stream.splitlines()[-2], stream[-500:]
    return str(session["id"])


def event_rows(page: Page) -> list[str]:
    return page.get_by_role("table", name="Events").locator("tbody tr").all_inner_texts()


def test_the_sample_s_events_are_shown_and_shown_again_after_a_reload(page: Page) -> None:
    page.get_by_label("Fast").check()
    page.get_by_label("Choose a video").set_input_files(SAMPLE)
    expect(page.get_by_role("heading", name=SAMPLE.name)).to_be_visible(timeout=PATIENCE_MS)
    expect(shown_actions(page).first).to_be_visible(timeout=PATIENCE_MS)
    expect(shown_state(page)).to_have_text("completed", timeout=PATIENCE_MS)
    expect(page.get_by_role("cell", name="Completed")).to_be_visible(timeout=PATIENCE_MS)
    seen = event_rows(page)
    page.reload()
    expect(page.get_by_role("cell", name="Completed")).to_be_visible(timeout=PATIENCE_MS)
    assert event_rows(page) == seen


def test_the_page_shows_how_much_space_the_videos_take(page: Page, analysed: str) -> None:
    size = r"\d+(\.\d)? [kMGT]?B"
    sentence = rf"Videos take {size}; {size} are free\. Ended sessions are deleted after 30 days\."
    expect(page.locator("#storage")).to_have_text(re.compile(sentence), timeout=PATIENCE_MS)


def test_a_page_without_a_selection_shows_the_first_session_that_runs(browser: Browser, server: str) -> None:
    with opened(browser, f"{server}/") as page:
        expect(page.locator("#no-session")).to_be_visible(timeout=PATIENCE_MS)
        with SAMPLE.open("rb") as video:
            options = {"session": '{"pace": "realtime", "name": "late"}'}
            httpx.post(f"{server}/v1/sessions", files={"file": video}, data=options, timeout=120).raise_for_status()
        expect(page.get_by_role("heading", name="late", exact=True)).to_be_visible(timeout=PATIENCE_MS)
        page.get_by_role("button", name="Stop").click()
        expect(shown_state(page)).to_have_text("stopped", timeout=PATIENCE_MS)


def test_the_latest_action_shows_its_label_start_score_and_delay(browser: Browser, server: str, analysed: str) -> None:
    events = httpx.get(f"{server}/v1/sessions/{analysed}/events", params={"limit": 1000}, timeout=120).json()["events"]
    newest = [event for event in events if event["type"] == "action.start"][-1]
    with opened(browser, f"{server}/#session={analysed}") as page:
        card = page.get_by_role("region", name="Latest action")
        expect(card).to_contain_text(action_name(newest["label"]), timeout=PATIENCE_MS)
        expect(card).to_contain_text(f"{newest['score']:.0%}")
        expect(card).to_contain_text(f"{newest['decided_s'] - newest['start_s']:.1f} s")
        expect(card).to_contain_text(f":{newest['start_s'] % 60:04.1f}")


def test_a_running_session_shows_snapshots_and_its_scores_move(page: Page) -> None:
    page.get_by_label("Real time").check()
    page.get_by_label("Choose a video").set_input_files(SAMPLE)
    expect(shown_state(page)).to_have_text("running", timeout=PATIENCE_MS)
    expect(page.locator("#connection")).to_have_text("Connected", timeout=PATIENCE_MS)
    page.wait_for_function("() => isPainted('#snapshot') && isPainted('#plot canvas')".replace("isPainted", IS_PAINTED))
    before = page.evaluate(f"({IS_PAINTED})('#plot canvas', true)")
    page.wait_for_function(f"(before) => ({IS_PAINTED})('#plot canvas', true) !== before", arg=before)
    page.get_by_role("button", name="Stop").click()
    expect(shown_state(page)).to_have_text("stopped", timeout=PATIENCE_MS)


IS_PAINTED = """((selector, whole) => {
    const canvas = document.querySelector(selector);
    if (whole) return canvas.toDataURL();
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return data.some((value) => value > 0);
})"""


def test_an_ended_session_can_be_deleted(page: Page, server: str) -> None:
    page.get_by_label("Choose a video").set_input_files(
        {"name": "gone.mp4", "mimeType": "video/mp4", "buffer": b"no video"}
    )
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Select a session")).to_be_visible(timeout=PATIENCE_MS)
    # Its button is gone, and with it the place from which the keyboard would continue.
    expect(page.locator("#stage")).to_be_focused()
    expect(page.get_by_role("link", name="gone.mp4")).to_have_count(0)
    sessions = httpx.get(f"{server}/v1/sessions", timeout=120).json()["sessions"]
    assert "gone.mp4" not in [session["source"].get("filename") for session in sessions]


def test_a_page_that_is_opened_before_the_server_is_ready_says_so(browser: Browser, server: str) -> None:
    answers = [503]

    def answer(route: Route) -> None:
        if answers:
            route.fulfill(status=answers[0], json={"code": "not_ready", "detail": "No worker is ready yet."})
        else:
            route.continue_()

    with opened(browser, "about:blank") as page:
        page.route("**/v1/models", answer)
        page.goto(f"{server}/#sessions")
        expect(page.get_by_text("The server is getting ready")).to_be_visible(timeout=PATIENCE_MS)
        answers.clear()
        expect(page.get_by_text("The server is getting ready")).to_be_hidden(timeout=PATIENCE_MS)
        expect(page.get_by_label("Model", exact=True)).to_have_value("mocap")
        page.unroute_all(behavior="ignoreErrors")


@pytest.mark.parametrize("size", SIZES)
def test_no_width_needs_horizontal_scrolling(browser: Browser, server: str, analysed: str, size: str) -> None:
    for view in ("sessions", f"session={analysed}"):
        with opened(browser, f"{server}/#{view}", size=size) as page:
            shown = shown_actions(page).first if analysed in view else page.get_by_role("link", name=SAMPLE.name).first
            expect(shown).to_be_visible(timeout=PATIENCE_MS)
            overflow_px = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert overflow_px <= 0, view


def test_a_phone_goes_from_the_list_to_a_session_and_back(browser: Browser, server: str, analysed: str) -> None:
    with opened(browser, f"{server}/#sessions", size="phone") as page:
        page.locator(f"a[href$='{analysed}']").click()
        expect(page.get_by_role("region", name="Latest action")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_role("heading", name="New session")).to_be_hidden()
        page.get_by_role("link", name="All sessions").click()
        expect(page.get_by_role("heading", name="New session")).to_be_visible()
        # The list comes first, and the header has two rows.
        expect(page.get_by_label("URL of a video")).to_be_hidden()
        page.get_by_role("heading", name="New session").click()
        expect(page.get_by_label("URL of a video")).to_be_visible()
        header_px, row_px = (page.locator(each).evaluate("(e) => e.offsetHeight") for each in (".top", "#notify"))
        assert header_px < 3.5 * row_px


@pytest.mark.parametrize("size", SIZES)
def test_a_session_that_does_not_exist_is_said_to_be_missing(browser: Browser, server: str, size: str) -> None:
    with opened(browser, f"{server}/#session=gone", size=size) as page:
        expect(page.get_by_text("There is no session")).to_be_visible()
        page.get_by_role("link", name="Wall").click()
        page.get_by_role("link", name="Sessions", exact=True).click()
        expect(page.get_by_text("There is no session")).to_have_count(0)


@pytest.mark.parametrize(("size", "scheme"), [("phone", "dark"), ("wide", "light"), ("wide", "dark")])
def test_axe_finds_no_barrier(browser: Browser, server: str, analysed: str, size: str, scheme: str) -> None:
    for view in ("sessions", f"session={analysed}"):
        with opened(browser, f"{server}/#{view}", size=size, scheme=scheme) as page:
            shown = shown_actions(page).first if analysed in view else page.get_by_role("link", name=SAMPLE.name).first
            expect(shown).to_be_visible(timeout=PATIENCE_MS)
            results = Axe().run(page)
            assert results.violations_count == 0, results.generate_report()


def test_the_skip_link_leads_to_the_session_and_leaves_it_open(browser: Browser, server: str, analysed: str) -> None:
    with opened(browser, f"{server}/#session={analysed}") as page:
        expect(shown_actions(page).first).to_be_visible(timeout=PATIENCE_MS)
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#stage")).to_be_focused()
        expect(shown_actions(page).first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_reference_of_the_api_is_dark_where_the_page_is(browser: Browser, server: str, scheme: str) -> None:
    with opened(browser, f"{server}/docs", scheme=scheme) as page:
        title = page.get_by_role("heading", name="CAKE")
        expect(title).to_be_visible()
        text_lightness = title.evaluate("(e) => Math.max(...getComputedStyle(e).color.match(/[0-9]+/g).map(Number))")
        assert (text_lightness > 128) == (scheme == "dark")


def test_the_page_can_be_put_on_a_home_screen(page: Page, server: str) -> None:
    devtools = page.context.new_cdp_session(page)
    errors = devtools.send("Page.getInstallabilityErrors")["installabilityErrors"]
    # As all tabs of the tests are.
    assert [error["errorId"] for error in errors] == ["in-incognito"]
    manifest = devtools.send("Page.getAppManifest")
    assert manifest["errors"] == []
    content = json.loads(manifest["data"])
    assert urljoin(manifest["url"], content["start_url"]) == urljoin(manifest["url"], content["scope"]) == f"{server}/"
    icon = httpx.get(f"{server}/static/apple-touch-icon.png", timeout=120)
    assert (icon.status_code, icon.headers["content-type"]) == (200, "image/png")


def test_names_are_text_and_never_markup(browser: Browser, server: str) -> None:
    name = "<img src=x onerror=alert(1)>"
    url = "http://127.0.0.1:9/clip.mp4"
    session = (
        httpx.post(f"{server}/v1/sessions", json={"source": {"url": url}, "name": name}, timeout=120)
        .raise_for_status()
        .json()
    )
    with opened(browser, f"{server}/#session={session['id']}") as page:
        expect(page.get_by_role("heading", name=name)).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_role("link", name=name)).to_be_visible()
        expect(page.locator("img")).to_have_count(0)


@pytest.mark.parametrize("view", ["sessions", "wall"])
def test_no_requests_are_sent_while_the_page_is_hidden(page: Page, view: str) -> None:
    page.clock.install()
    page.evaluate("(view) => { location.hash = view; }", view)
    page.reload()
    page.wait_for_function("() => document.getElementById('model').value === 'mocap'")
    page.evaluate(
        """() => {
            Object.defineProperty(document, "hidden", { configurable: true, get: () => true });
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(60_000)
    assert asked == []
    with page.expect_request("**/v1/sessions?**"):
        page.evaluate("() => { delete document.hidden; document.dispatchEvent(new Event('visibilitychange')); }")


def test_the_page_reconnects_after_a_server_restart(browser: Browser, tmp_path: Path) -> None:
    port = free_port()
    data_dir = tmp_path / "data"
    options = {"session": (None, json.dumps({"pace": "realtime"}), "application/json")}
    with ExitStack() as tabs:
        with served(data_dir, port) as url, SAMPLE.open("rb") as video:
            session = httpx.post(
                f"{url}/v1/sessions", files={"file": (SAMPLE.name, video), **options}, timeout=120
            ).json()
            page = tabs.enter_context(opened(browser, f"{url}/#session={session['id']}"))
            expect(shown_actions(page).first).to_be_visible(timeout=PATIENCE_MS)
        expect(page.locator("#connection")).to_contain_text("Connection lost", timeout=PATIENCE_MS)
        seen = shown_actions(page).count()
        with served(data_dir, port):
            expect(page.locator("#connection")).to_have_text("Connected", timeout=PATIENCE_MS)
            expect(shown_actions(page).nth(seen)).to_be_visible(timeout=PATIENCE_MS)
            events = httpx.get(f"{url}/v1/sessions/{session['id']}/events", timeout=120).json()["events"]
            starts = [event for event in events if event["type"] == "action.start"]
            assert shown_actions(page).count() in (len(starts), len(starts) + 1)
