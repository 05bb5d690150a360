"""The inbox lists the actions of all sessions with their stills, to view, judge and open."""

import re
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, Route, expect

from service.event_schemas import ActionStartEvent, EventLogPage
from service.schemas import Session
from tests.support.page_driver import PATIENCE_MS, SAMPLE, action_name, analyse, opened, stop, submit, write_streamable
from tests.support.video_server import serve_folder

pytestmark = pytest.mark.slow

IS_LOADED = """(total) => !document.getElementById("inbox-more").hidden
    || document.querySelectorAll("#inbox-list li").length === total"""
IS_PAINTED = """(canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data
    .some((value) => value > 0)"""
ARE_CUT = "(times) => times.map((time) => time.scrollWidth > time.clientWidth)"


@pytest.fixture(autouse=True)
def nothing_is_judged(url: str, analysed: Session) -> None:
    for start in starts(url):
        path = f"{url}/v1/sessions/{start.session_id}/events/{start.id}/feedback"
        httpx.delete(path, timeout=120)


def starts(url: str, **query: str) -> list[ActionStartEvent]:
    """The action starts of all sessions, newest first."""
    params = {"type": "action.start", "limit": "1000", **query}
    page = EventLogPage.model_validate_json(httpx.get(f"{url}/v1/events", params=params, timeout=120).content)
    return [entry.event for entry in page.entries if isinstance(entry.event, ActionStartEvent)]


def items(page: Page) -> Locator:
    return page.get_by_role("list", name="Actions, newest first").get_by_role("listitem")


def labels(page: Page) -> list[str]:
    return page.locator("#inbox-list .name").all_inner_texts()


def judged(url: str, session: Session) -> dict[str, str]:
    feedback = httpx.get(f"{url}{session.links.self}/feedback", timeout=120).json()["feedback"]
    return {each["id"]: each["verdict"] for each in feedback}


def test_actions_are_listed_newest_first_with_stills_and_open_their_session(
    browser: Browser, url: str, analysed: Session
) -> None:
    wanted = starts(url)
    with opened(browser, f"{url}/#inbox") as page:
        expect(items(page)).to_have_count(len(wanted), timeout=PATIENCE_MS)
        assert labels(page) == [action_name(start.label) for start in wanted]
        expect(items(page).first).to_contain_text(re.compile(r"mocap\.mp4.*\d:\d\d\.\d · \d+ (s|min) ago", re.DOTALL))
        page.wait_for_function(f"() => ({IS_PAINTED})(document.querySelector('#inbox-list li canvas'))")
        page.keyboard.press("j")
        page.keyboard.press("j")
        expect(items(page).nth(1).get_by_role("link")).to_be_focused()
        page.keyboard.press("Enter")
        shown = page.locator("tr[aria-current]")
        expect(shown).to_contain_text(action_name(wanted[1].label), timeout=PATIENCE_MS)
        expect(page.locator("#player-status")).to_contain_text(action_name(wanted[1].label), timeout=PATIENCE_MS)
        page.go_back()
        expect(items(page).nth(1).get_by_role("link")).to_be_focused(timeout=PATIENCE_MS)


def test_actions_are_judged_with_the_keyboard_and_then_left_out(browser: Browser, url: str, analysed: Session) -> None:
    first, second, *others = starts(url)
    with opened(browser, f"{url}/#inbox") as page:
        expect(items(page)).to_have_count(len(others) + 2, timeout=PATIENCE_MS)
        page.keyboard.press("j")
        for key in ("r", "w"):
            with page.expect_response(lambda response: response.request.method == "PUT"):
                page.keyboard.press(key)
            page.keyboard.press("ArrowRight")
        assert judged(url, analysed) == {first.id: "right", second.id: "wrong"}
        page.get_by_label("Not judged yet").check()
        expect(items(page)).to_have_count(len(others), timeout=PATIENCE_MS)
        assert labels(page) == [action_name(start.label) for start in others]


def test_actions_are_filtered_by_label_and_session(browser: Browser, url: str, analysed: Session) -> None:
    label = starts(url)[0].label
    with opened(browser, f"{url}/#inbox") as page:
        expect(items(page).first).to_be_visible(timeout=PATIENCE_MS)
        page.locator("#inbox-session").select_option(analysed.id)
        page.locator("#inbox-label").select_option(label)
        expect(items(page)).to_have_count(len(starts(url, label=label)), timeout=PATIENCE_MS)
        assert set(labels(page)) == {action_name(label)}
        page.reload()
        expect(page.locator("#inbox-label")).to_have_value(label)
        expect(items(page)).to_have_count(len(starts(url, label=label)), timeout=PATIENCE_MS)


def test_the_most_uncertain_actions_come_first_on_request(browser: Browser, url: str, analysed: Session) -> None:
    rules = Session.model_validate_json(httpx.get(f"{url}{analysed.links.self}", timeout=120).content).start_rules
    uncertain = sorted(starts(url, session=analysed.id), key=lambda start: start.score - rules[start.label].enter)
    with opened(browser, f"{url}/#inbox") as page:
        page.locator("#inbox-session").select_option(analysed.id)
        page.get_by_label("Order").select_option("Most uncertain first")
        listed = page.get_by_role("list", name="Actions, most uncertain first").get_by_role("listitem")
        expect(listed).to_have_count(len(uncertain), timeout=PATIENCE_MS)
        assert labels(page) == [action_name(start.label) for start in uncertain]


def test_older_actions_follow_page_by_page(browser: Browser, url: str, analysed: Session) -> None:
    more = [analyse(url, SAMPLE) for _ in range(3)]

    def ask_for_less(route: Route) -> None:
        route.continue_(url=route.request.url.replace("limit=100", "limit=7"))

    with opened(browser, "about:blank") as page:
        page.route(re.compile(r"limit=100(&|$)"), ask_for_less)
        page.goto(f"{url}/#inbox")
        older = page.get_by_role("button", name="Show older actions")
        total = len(starts(url))
        page.wait_for_function(IS_LOADED, arg=total)
        assert items(page).count() < total
        while items(page).count() < total:
            older.click()
            page.wait_for_function(IS_LOADED, arg=total)
        assert labels(page) == [action_name(start.label) for start in starts(url)]
    for session in more:
        httpx.delete(f"{url}{session.links.self}", timeout=120).raise_for_status()


def test_a_new_action_without_a_clip_appears_at_once_and_says_why_where_it_is_opened(
    browser: Browser, url: str, analysed: Session, tmp_path: Path
) -> None:
    write_streamable(SAMPLE, tmp_path / SAMPLE.name)
    with serve_folder(tmp_path) as address, opened(browser, f"{url}/#inbox") as page:
        expect(items(page).first).to_be_visible(timeout=PATIENCE_MS)
        options = {"source": {"url": f"http://{address}/{SAMPLE.name}"}, "name": "far", "pace": "realtime"}
        answer = httpx.post(f"{url}/v1/sessions", json=options, timeout=120)
        session = Session.model_validate_json(answer.raise_for_status().content)
        expect(items(page).first).to_contain_text("far", timeout=PATIENCE_MS)
        expect(items(page).first.locator(".missing")).to_have_text("Clips of this action are off", timeout=PATIENCE_MS)
        # Only users who want to see it need to know why.
        expect(page.locator("#inbox")).not_to_contain_text("CAKE_CLIPS")
        items(page).first.get_by_role("link").click()
        expect(page.locator("#clip-status")).to_contain_text("CAKE_CLIPS", timeout=PATIENCE_MS)
        stop(url, session)


def test_the_still_of_a_new_action_is_fetched_before_those_of_older_ones(
    browser: Browser, url: str, analysed: Session, long_video: Path
) -> None:
    held: list[Route] = []
    with opened(browser, "about:blank") as page:
        page.route(re.compile(r"still\.jpg"), lambda route: held.append(route))
        page.goto(f"{url}/#inbox")
        while len(held) < 3:
            page.evaluate("new Promise((resolve) => requestAnimationFrame(resolve))")
        session = submit(url, long_video, "new")
        expect(items(page).first).to_contain_text("new", timeout=PATIENCE_MS)
        with page.expect_request(re.compile(r"still\.jpg")) as asked:
            held[0].continue_()
        assert session.id in asked.value.url
        page.unroute_all(behavior="ignoreErrors")
    stop(url, session)


@pytest.mark.parametrize(("size", "scheme"), [("phone", "dark"), ("wide", "light")])
def test_axe_finds_no_barrier_and_no_width_scrolls_sideways(
    browser: Browser, url: str, analysed: Session, size: str, scheme: str
) -> None:
    with opened(browser, f"{url}/#inbox", size=size, scheme=scheme) as page:
        expect(items(page).first).to_be_visible(timeout=PATIENCE_MS)
        results = Axe().run(page)
        assert results.violations_count == 0, results.generate_report()
        for width in (360, 768, 2560):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
            assert not any(page.locator("#inbox-list time").evaluate_all(ARE_CUT)), width
