"""The list of sessions is filtered, and several sessions are deleted together."""

from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from service.schemas import Session
from tests.support.page_driver import PATIENCE_MS, SIZES, opened, stop, submit

pytestmark = pytest.mark.slow


def broken(url: str, name: str) -> str:
    """Id of a session that fails."""
    answer = httpx.post(f"{url}/v1/sessions", files={"file": (name, b"no video")}, timeout=120)
    return str(answer.raise_for_status().json()["id"])


def listed(page: Page) -> list[str]:
    return page.locator("#sessions .name").all_inner_texts()


def ids(url: str) -> set[str]:
    return {each["id"] for each in httpx.get(f"{url}/v1/sessions?limit=200", timeout=120).json()["sessions"]}


def test_the_list_is_filtered_by_words_of_name_source_and_state(browser: Browser, url: str, analysed: Session) -> None:
    for name in ("gate north.mp4", "gate south.mp4"):
        broken(url, name)
    with opened(browser, f"{url}/#sessions") as page:
        filter_box = page.get_by_role("searchbox", name="Filter sessions")
        filter_box.fill("South GATE")
        expect(page.locator("#sessions .name")).to_have_text(["gate south.mp4"])
        filter_box.fill("completed")
        expect(page.locator("#sessions .name")).to_have_text(["mocap.mp4"])
        filter_box.fill("nowhere")
        expect(page.get_by_text("No session matches the filter.")).to_be_visible()
        filter_box.fill("")
        expect(page.locator("#sessions .name")).to_have_count(len(ids(url)))


def test_the_address_of_the_list_does_not_scroll_to_it(browser: Browser, url: str) -> None:
    for number in range(8):
        broken(url, f"{number}.mp4")
    with opened(browser, f"{url}/#session=other") as page:
        expect(page.locator("#sessions .name").nth(7)).to_be_visible(timeout=PATIENCE_MS)
        page.set_viewport_size({"width": 1280, "height": 400})
        page.goto(f"{url}/#sessions")
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert page.evaluate("scrollY") == 0


def test_a_filter_finds_sessions_that_are_not_listed_yet(browser: Browser, url: str) -> None:
    broken(url, "the oldest.mp4")
    for number in range(21):
        broken(url, f"newer {number}.mp4")
    with opened(browser, f"{url}/#sessions") as page:
        page.get_by_role("searchbox", name="Filter sessions").fill("oldest")
        page.get_by_role("button", name="Search older sessions").click()
        expect(page.locator("#sessions .name")).to_have_text(["the oldest.mp4"])


def test_a_long_name_leaves_room_for_its_session(browser: Browser, url: str) -> None:
    name = "W" * 200
    answer = httpx.post(f"{url}/v1/sessions", files={"file": b"no video"}, data={"session": f'{{"name": "{name}"}}'})
    session = answer.raise_for_status().json()
    with opened(browser, f"{url}/#session={session['id']}", size="phone") as page:
        heading = page.get_by_role("heading", name=name)
        expect(heading).to_be_visible(timeout=PATIENCE_MS)
        assert heading.evaluate("(title) => title.clientHeight / parseFloat(getComputedStyle(title).lineHeight)") <= 3
        assert heading.get_attribute("title") == name


@pytest.mark.parametrize("size", SIZES)
def test_selected_sessions_are_deleted_together_and_live_ones_cannot_be_selected(
    browser: Browser, url: str, long_video: Path, size: str
) -> None:
    kept, *unwanted = [broken(url, f"{size} {part}") for part in ("kept.mp4", "first.mp4", "second.mp4")]
    live = submit(url, long_video, f"{size} live")
    with opened(browser, f"{url}/#sessions", size=size) as page:
        page.get_by_role("searchbox", name="Filter sessions").fill(size)
        expect(page.locator("#sessions .name")).to_have_count(4)
        page.get_by_role("button", name="Select").click()
        expect(page.get_by_role("checkbox", name=f"{size} live")).to_be_disabled()
        page.get_by_role("checkbox", name="All ended").check()
        page.get_by_role("checkbox", name=f"{size} kept.mp4").uncheck()
        assert Axe().run(page).violations_count == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.get_by_role("button", name="Delete 2 sessions").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(page.locator("#sessions .name")).to_have_count(2)
        expect(page.get_by_role("status").filter(has_text="Deleted 2 sessions.")).to_be_visible()
        assert set(listed(page)) == {f"{size} live", f"{size} kept.mp4"}
    assert ids(url).isdisjoint(unwanted)
    assert {kept, live.id} <= ids(url)
    stop(url, live)


def test_a_session_that_cannot_be_deleted_is_named_with_the_reason(browser: Browser, url: str) -> None:
    refused = broken(url, "refused.mp4")
    with opened(browser, f"{url}/#sessions") as page:
        problem = {"code": "store_unavailable", "detail": "The store is not available."}

        page.route(
            f"{url}/v1/sessions/{refused}",
            lambda route: (
                route.fulfill(status=503, json=problem) if route.request.method == "DELETE" else route.fallback()
            ),
        )
        page.get_by_role("searchbox", name="Filter sessions").fill("refused")
        page.get_by_role("button", name="Select").click()
        page.get_by_role("checkbox", name="refused.mp4").check()
        page.get_by_role("button", name="Delete 1 session").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(page.get_by_text("refused.mp4 was not deleted: The store is not available.")).to_be_visible()
        expect(page.locator("#sessions .name")).to_have_text(["refused.mp4"])
