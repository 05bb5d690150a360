"""On the page, a person says with the mouse or the keyboard which actions were right."""

from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, Response, expect

from service.feedback import Feedback, SessionFeedback
from service.schemas import Session
from tests.support.page_driver import PATIENCE_MS, opened

pytestmark = pytest.mark.slow


@pytest.fixture
def session(url: str, analysed: Session) -> Session:
    """Nothing was said about its actions yet."""
    for each in feedback_of(url, analysed):
        path = f"feedback/{each.id}" if each.verdict == "missed" else f"events/{each.id}/feedback"
        httpx.delete(f"{url}{analysed.links.self}/{path}", timeout=120).raise_for_status()
    return analysed


def feedback_of(url: str, session: Session) -> list[Feedback]:
    content = httpx.get(f"{url}{session.links.self}/feedback", timeout=120).content
    return SessionFeedback.model_validate_json(content).feedback


def verdicts(url: str, session: Session) -> list[tuple[str, str]]:
    return [(each.label, each.verdict) for each in feedback_of(url, session)]


def button(page: Page, verdict: str, label: str) -> Locator:
    return page.get_by_role("button", name=f"{verdict}: {label}")


def is_put(response: Response) -> bool:
    return response.request.method == "PUT"


def expect_pressed(button: Locator, pressed: bool) -> None:
    expect(button).to_have_attribute("aria-pressed", str(pressed).lower(), timeout=PATIENCE_MS)


@pytest.mark.parametrize("size", ["wide", "phone"])
def test_an_action_is_judged_with_the_mouse_and_still_is_after_a_reload(
    browser: Browser, url: str, session: Session, size: str
) -> None:
    with opened(browser, f"{url}/#session={session.id}", size=size) as page:
        expect(page.locator("#session-state")).to_have_text("completed", timeout=PATIENCE_MS)
        button(page, "wrong", "kick").click()
        expect_pressed(button(page, "wrong", "kick"), True)
        with page.expect_response(is_put):
            button(page, "right", "roll").click()
        page.reload()
        expect_pressed(button(page, "wrong", "kick"), True)
        expect_pressed(button(page, "right", "kick"), False)
        assert verdicts(url, session) == [("roll", "right"), ("kick", "wrong")]
        with page.expect_response(lambda response: response.request.method == "DELETE"):
            button(page, "wrong", "kick").click()
        expect_pressed(button(page, "wrong", "kick"), False)
        assert verdicts(url, session) == [("roll", "right")]
        assert Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]}).violations_count == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_actions_are_judged_with_the_keyboard(browser: Browser, url: str, session: Session) -> None:
    with opened(browser, f"{url}/#session={session.id}") as page:
        expect(page.locator("#session-state")).to_have_text("completed", timeout=PATIENCE_MS)
        page.get_by_role("button", name=", play").first.focus()
        with page.expect_response(is_put):
            page.keyboard.press("r")
        page.keyboard.press("ArrowDown")
        with page.expect_response(is_put):
            page.keyboard.press("w")
        expect_pressed(button(page, "right", "backflip"), True)
        # That of the latest action has words.
        expect_pressed(page.get_by_role("button", name="✓ Right"), True)
        expect_pressed(button(page, "wrong", "dance B"), True)
        assert verdicts(url, session) == [("dance_b", "wrong"), ("backflip", "right")]


def test_a_verdict_given_in_one_tab_shows_in_the_other(browser: Browser, url: str, session: Session) -> None:
    with opened(browser, f"{url}/#session={session.id}") as page:
        expect_pressed(button(page, "right", "kick"), False)
        other = page.context.new_page()
        other.goto(f"{url}/#inbox")
        expect_pressed(button(other, "right", "kick"), False)
        with other.expect_response(is_put):
            button(other, "right", "kick").click()
        expect_pressed(button(page, "right", "kick"), True)
        with page.expect_response(is_put):
            button(page, "wrong", "kick").click()
        expect_pressed(button(other, "right", "kick"), False)
        expect_pressed(button(other, "wrong", "kick"), True)
    assert verdicts(url, session) == [("kick", "wrong")]


def test_a_verdict_that_cannot_be_kept_is_taken_back_with_the_reason(
    browser: Browser, url: str, session: Session
) -> None:
    with opened(browser, f"{url}/#session={session.id}") as page:
        expect(page.locator("#session-state")).to_have_text("completed", timeout=PATIENCE_MS)
        expect(button(page, "right", "kick")).to_be_visible(timeout=PATIENCE_MS)
        page.context.set_offline(True)
        button(page, "right", "kick").click()
        expect(page.locator("#notice")).to_contain_text("Cannot reach the server", timeout=PATIENCE_MS)
        expect_pressed(button(page, "right", "kick"), False)


def starts(url: str, session: Session) -> list[dict[str, Any]]:
    answer = httpx.get(f"{url}{session.links.events}?type=action.start", timeout=120)
    found: list[dict[str, Any]] = answer.raise_for_status().json()["events"]
    return found


def test_a_missed_action_is_dragged_in_the_plot_labelled_and_removed(
    browser: Browser, url: str, session: Session
) -> None:
    with opened(browser, f"{url}/#session={session.id}") as page:
        expect(page.locator("#session-state")).to_have_text("completed", timeout=PATIENCE_MS)
        expect(page.locator("#scrub")).to_be_visible(timeout=PATIENCE_MS)
        plot = page.locator("#plot")
        plot.scroll_into_view_if_needed()
        box = plot.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 100, box["y"] + 60)
        page.mouse.down()
        page.mouse.move(box["x"] + 140, box["y"] + 60)
        page.mouse.up()
        expect(page.locator("#missed-label")).to_be_focused(timeout=PATIENCE_MS)
        from_s, to_s = (float(page.locator(f"#missed-{side}").input_value()) for side in ("from", "to"))
        assert 0 < from_s < to_s < 45
        page.locator("#missed-label").select_option("jump")
        # What was dragged stays highlighted until it is added, and is then marked.
        assert page.locator("#plot .u-select").evaluate("(select) => select.offsetWidth") > 30
        before = page.locator("#plot canvas").evaluate("(canvas) => canvas.toDataURL()")
        strip = page.locator("#overview canvas").evaluate("(canvas) => canvas.toDataURL()")
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.locator("#missed-list li")).to_have_count(1, timeout=PATIENCE_MS)
        assert page.locator("#plot .u-select").evaluate("(select) => select.offsetWidth") == 0
        page.wait_for_function("(before) => document.querySelector('#plot canvas').toDataURL() !== before", arg=before)
        assert page.locator("#overview canvas").evaluate("(canvas) => canvas.toDataURL()") != strip
        assert verdicts(url, session) == [("jump", "missed")]
        assert Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]}).violations_count == 0
        page.get_by_role("button", name="Remove jump").click()
        expect(page.locator("#missed-list li")).to_have_count(0, timeout=PATIENCE_MS)
        page.wait_for_function("(before) => document.querySelector('#plot canvas').toDataURL() === before", arg=before)
        assert verdicts(url, session) == []


def test_bands_are_named_below_the_plot_and_at_the_pointer_and_one_after_the_other_is_shown(
    browser: Browser, url: str, session: Session
) -> None:
    with opened(browser, f"{url}/#session={session.id}") as page:
        expect(page.locator("#session-state")).to_have_text("completed", timeout=PATIENCE_MS)
        expect(page.locator("#scrub")).to_be_visible(timeout=PATIENCE_MS)
        while page.locator("#zoom-out").is_enabled():
            page.locator("#zoom-out").click()
        legend = page.get_by_role("list", name="Actions in the plot")
        expect(legend.get_by_role("button", name="kick × ")).to_be_visible(timeout=PATIENCE_MS)
        start_s = {event["label"]: event["start_s"] for event in starts(url, session)}
        expect(legend.get_by_role("listitem")).to_have_count(len(start_s))
        legend.get_by_role("button", name="kick × ").focus()
        page.keyboard.press("Enter")
        first = page.locator("tr[aria-current]")
        expect(first.get_by_role("rowheader")).to_have_text("kick")
        expect(page.locator("#player-status")).to_contain_text("kick at")
        # The plot shows the whole video.
        plot, length_s = page.locator("#plot .u-over"), float(page.locator("#scrub-range").get_attribute("max") or 0)
        plot.scroll_into_view_if_needed()
        box = plot.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + start_s["kick"] / length_s * box["width"], box["y"] + 20)
        expect(page.locator("#plot-reading")).to_contain_text("kick from 0:")


def test_a_missed_action_can_be_typed_and_an_impossible_one_says_why(
    browser: Browser, url: str, session: Session
) -> None:
    with opened(browser, f"{url}/#session={session.id}", size="phone") as page:
        expect(page.locator("#session-state")).to_have_text("completed", timeout=PATIENCE_MS)
        page.get_by_text("Missed actions", exact=True).click()
        page.locator("#missed-from").fill("3")
        page.locator("#missed-to").fill("2")
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.locator("#missed-result")).to_contain_text("not before it", timeout=PATIENCE_MS)
        page.locator("#missed-to").fill("3.5")
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.locator("#missed-list li")).to_have_count(1, timeout=PATIENCE_MS)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
