"""Thresholds on the page: tried on the scores of a session, explained by near misses, and kept while it runs."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from service.schemas import Session
from tests.support.page_driver import PATIENCE_MS, SAMPLE, opened

pytestmark = pytest.mark.slow


@contextmanager
def running_session(browser: Browser, url: str) -> Iterator[tuple[Page, Session]]:
    """The page of a new session that plays the sample in real time."""
    with SAMPLE.open("rb") as file:
        answer = httpx.post(
            f"{url}/v1/sessions", files={"file": file}, data={"session": '{"pace": "realtime"}'}, timeout=120
        )
    session = Session.model_validate_json(answer.raise_for_status().content)
    with opened(browser, f"{url}/#session={session.id}") as page:
        yield page, session
    httpx.delete(f"{url}{session.links.self}", timeout=120).raise_for_status()


def move_threshold(page: Page, label: str, percent: int) -> None:
    page.locator("#thresholds").get_by_label("Action").select_option(label)
    page.locator("#threshold").fill(str(percent))


@pytest.mark.parametrize("size", ["wide", "phone"])
def test_a_threshold_is_tried_on_the_scores_of_an_ended_session(
    browser: Browser, url: str, analysed: Session, size: str
) -> None:
    with opened(browser, f"{url}/#session={analysed.id}", size=size) as page:
        expect(page.locator("#session-state")).to_have_text("completed", timeout=PATIENCE_MS)
        page.get_by_text("Thresholds", exact=True).click()
        result = page.locator("#threshold-result")
        page.locator("#thresholds").get_by_label("Action").select_option("punch")
        expect(result).to_have_text("1 start, as published.", timeout=PATIENCE_MS)
        move_threshold(page, "punch", 30)
        expect(page.locator("#threshold-value")).to_have_text("30%", timeout=PATIENCE_MS)
        expect(result).to_have_text(re.compile(r"^\d+ starts with this threshold: \d+ new[.,]"), timeout=PATIENCE_MS)
        expect(page.locator("#threshold-changes li").filter(has_text="new").first).to_be_visible()
        move_threshold(page, "roll", 100)
        gone = "0 starts with this threshold: 1 that was published is missing."
        expect(result).to_have_text(gone, timeout=PATIENCE_MS)
        expect(page.locator("#threshold-changes li")).to_have_text(re.compile(r"^\d:\d\d\.\d missing$"))
        page.locator("#threshold-changes").get_by_role("button").click()
        page.wait_for_function("() => document.getElementById('video').currentTime > 0")
        expect(page.locator("#threshold-ended")).to_contain_text("only be tried")
        # Each action keeps what was tried for it.
        page.locator("#thresholds").get_by_label("Action").select_option("punch")
        expect(page.locator("#threshold-value")).to_have_text("30%")
        expect(page.get_by_role("button", name="Keep for this session")).to_be_hidden(timeout=PATIENCE_MS)
        assert Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]}).violations_count == 0


def test_a_near_miss_says_why_it_was_no_start_and_leads_to_its_place_in_the_plot(
    browser: Browser, url: str, analysed: Session
) -> None:
    with opened(browser, f"{url}/#session={analysed.id}") as page:
        expect(page.locator("#session-state")).to_have_text("completed", timeout=PATIENCE_MS)
        # Marked in the plot before anyone asks.
        said = page.get_by_role("list", name="Near misses in the plot").get_by_role("listitem")
        why = re.compile(r"^○ \d:\d\d\.\d [\w ]+ \d+% was not an event: (below|shorter|less) .*\.$")
        expect(said.first).to_have_text(why, timeout=PATIENCE_MS)
        # Too low for a mark.
        point_at(page, 33.2)
        expect(page.locator("#plot-reading")).to_have_text(re.compile(r": dance B \d+% \(below the threshold of 95%\)"))
        point_at_a_near_miss(page, url, analysed)
        expect(page.locator("#plot-reading")).to_have_text(
            re.compile(r"\w+ \d+% was not an event: .*(below|shorter|less)")
        )
        page.get_by_text("Thresholds", exact=True).click()
        # The action that came nearest to a start.
        expect(page.locator("#threshold-label")).to_have_value("punch", timeout=PATIENCE_MS)
        move_threshold(page, "dance_a", 100)
        miss = page.locator("#near-misses li").filter(has_text=re.compile(r"dance A 9\d%: below the threshold of 100%"))
        expect(miss).to_have_count(1, timeout=PATIENCE_MS)
        before = page.locator("#plot").screenshot()
        miss.get_by_role("button").click()
        shown = re.compile(r"up to 0:3\d")
        expect(page.locator("#scrub-range")).to_have_attribute("aria-valuetext", shown, timeout=PATIENCE_MS)
        assert page.locator("#plot").screenshot() != before
        # Those that the plot shows are said.
        expect(
            said.filter(has_text=re.compile(r"dance A 9\d% was not an event: below the threshold of 100%"))
        ).to_have_count(1)


def test_actions_have_the_names_that_their_model_gives_them_else_their_labels_with_spaces(
    browser: Browser, url: str, analysed: Session
) -> None:
    with opened(browser, f"{url}/#session={analysed.id}") as page:
        offered = page.locator("#threshold-label option")
        named = offered.filter(has_text="getting up, face down")
        expect(named).to_have_attribute("value", "getup_facedown", timeout=PATIENCE_MS)
        page.locator("#more summary").first.click()
        expect(page.get_by_role("checkbox", name="spin-kick")).to_be_visible()
        name = page.evaluate("""async () => {
            const { actionName } = await import("./static/action_names.js");
            return actionName("drop_a_parcel");
        }""")
        assert name == "drop a parcel"


def test_a_score_just_below_a_threshold_does_not_read_as_the_threshold(
    browser: Browser, url: str, analysed: Session
) -> None:
    with opened(browser, f"{url}/#session={analysed.id}") as page:
        texts = page.evaluate("""async () => {
            const { percentBelow } = await import("./static/format.js");
            return [percentBelow(0.9496, 0.95), percentBelow(0.9304, 0.95), percentBelow(0.95, 0.95)];
        }""")
    assert texts == ["94.9%", "93%", "95%"]


def point_at_a_near_miss(page: Page, url: str, session: Session) -> None:
    """At the last one, in the last half minute of the video, which the plot shows."""
    tried = httpx.post(f"{url}{session.links.self}/rules:try", json={}, timeout=120).json()
    point_at(page, tried["near_misses"][-1]["peak_s"])


def point_at(page: Page, media_s: float) -> None:
    plot = page.locator("#plot .u-over")
    box = plot.bounding_box()
    assert box is not None
    until_s = float(page.locator("#scrub-range").input_value())
    place = 1 - (until_s - media_s) / 30
    assert 0 < place < 1
    plot.hover(position={"x": place * box["width"], "y": 30})


def test_a_threshold_is_kept_for_a_running_session_and_given_up_again(browser: Browser, url: str) -> None:
    with running_session(browser, url) as (page, session):
        expect(page.locator("#session-state")).to_have_text("running", timeout=PATIENCE_MS)
        page.get_by_text("Thresholds", exact=True).click()
        move_threshold(page, "kick", 42)
        page.get_by_role("button", name="Keep for this session").click()
        reset = page.get_by_role("button", name="Use the model's threshold")
        expect(reset).to_be_enabled(timeout=PATIENCE_MS)
        assert rules_of(url, session) == {"kick": 0.42}
        expect(page.locator("#threshold-value")).to_have_text("42%", timeout=PATIENCE_MS)
        reset.click()
        expect(reset).to_be_disabled(timeout=PATIENCE_MS)
        assert rules_of(url, session) == {}


def rules_of(url: str, session: Session) -> dict[str, float]:
    """The session's own thresholds."""
    now = Session.model_validate_json(httpx.get(f"{url}{session.links.self}", timeout=120).content)
    return {label: rule.enter for label, rule in now.rules.items()}
