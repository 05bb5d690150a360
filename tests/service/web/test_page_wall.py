"""The wall shows all live sessions; those with an action come first, and only what can be seen is fetched."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, Route, expect

from service.schemas import Session
from tests.support.made_videos import numbered_image, write_video
from tests.support.page_driver import PATIENCE_MS, opened, stop, submit

pytestmark = pytest.mark.slow

FAILED = "broken.mp4"
QUIET = ("dock 2", "dock 10", "gate", "lobby")
SNAPSHOTS = re.compile(r"/snapshot\.jpg")
FILLED = """async ([ratios, width, height]) => {
    const { fillingGrid } = await import("./static/tile_grid.js");
    const { columns, area_px, ratio } = fillingGrid(ratios, width, height);
    return [columns, Math.ceil(ratios.length / columns), ratio, area_px / (width * height)];
}"""
HD, VGA, PORTRAIT = 16 / 9, 4 / 3, 9 / 16
NEXT_FRAME = "new Promise((resolve) => requestAnimationFrame(resolve))"
ALL_ARE_PAINTED = """() => [...document.querySelectorAll("#tiles li:not(.failed) canvas")].every((canvas) =>
    canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value > 0))"""


@pytest.fixture(scope="module")
def quiet_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten minutes in which nothing moves."""
    path = tmp_path_factory.mktemp("quiet") / "quiet.mp4"
    return write_video(path, count=1200, rate_hz=2, draw=lambda _, width, height: numbered_image(9, width, height))


@pytest.fixture(scope="module")
def live(url: str, long_video: Path, quiet_video: Path) -> Iterator[dict[str, Session]]:
    """Sessions without actions, and `yard`, which has one every few seconds; another one failed."""
    httpx.post(f"{url}/v1/sessions", files={"file": (FAILED, b"no video")}, timeout=120).raise_for_status()
    sessions = {name: submit(url, quiet_video, name) for name in QUIET} | {"yard": submit(url, long_video, "yard")}
    yield sessions
    for session in sessions.values():
        stop(url, session)


def tiles(page: Page) -> Locator:
    return page.get_by_role("list", name="Live sessions").get_by_role("listitem")


def wait_until_all_run(page: Page) -> None:
    expect(page.locator("#wall-count")).to_have_text("5 running · 1 failed", timeout=PATIENCE_MS)
    expect(tiles(page).first).to_contain_text("yard", timeout=PATIENCE_MS)


def test_sessions_with_an_action_come_first_and_failed_ones_next(
    browser: Browser, url: str, live: dict[str, Session]
) -> None:
    with opened(browser, f"{url}/#wall") as page:
        wait_until_all_run(page)
        expect(page.locator("#tiles .name")).to_have_text(["yard", FAILED, *QUIET], timeout=PATIENCE_MS)
        expect(tiles(page).first).to_contain_text(re.compile("running [a-z]+"))
        expect(tiles(page).nth(1)).to_contain_text("failed: ")
        expect(page.locator(".tile.on .name")).to_have_text("yard", timeout=PATIENCE_MS)
        page.wait_for_function(ALL_ARE_PAINTED)
        # Where there is no snapshot, words say so.
        expect(page.locator(".tile .missing:not(:empty)")).to_have_text("No frame")
        expect(page).to_have_title("Wall · CAKE")


@pytest.mark.parametrize(("size", "scheme"), [("phone", "dark"), ("wide", "light")])
def test_axe_finds_no_barrier_and_no_width_scrolls_sideways(
    browser: Browser, url: str, live: dict[str, Session], size: str, scheme: str
) -> None:
    with opened(browser, f"{url}/#wall", size=size, scheme=scheme) as page:
        wait_until_all_run(page)
        results = Axe().run(page)
        assert results.violations_count == 0, results.generate_report()
        for width in (360, 768, 2560):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width


def test_the_keyboard_moves_between_tiles_and_opens_a_session(
    browser: Browser, url: str, live: dict[str, Session]
) -> None:
    with opened(browser, f"{url}/#wall") as page:
        wait_until_all_run(page)
        links = tiles(page).get_by_role("link")
        links.first.focus()
        page.keyboard.press("ArrowRight")
        expect(links.nth(1)).to_be_focused()
        page.keyboard.press("ArrowLeft")
        expect(links.first).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="yard")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.locator("#stage")).to_be_focused()
        page.go_back()
        expect(tiles(page).first).to_contain_text("yard", timeout=PATIENCE_MS)


def test_full_screen_shows_all_tiles(browser: Browser, url: str, live: dict[str, Session]) -> None:
    with opened(browser, f"{url}/#wall", size="phone") as page:
        wait_until_all_run(page)
        page.get_by_role("button", name="Full screen").click()
        expect(page.get_by_role("button", name="Leave full screen")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_role("heading", name="CAKE")).to_be_hidden()
        for tile in tiles(page).all():
            expect(tile).to_be_in_viewport(ratio=1)
        page.get_by_role("button", name="Leave full screen").click()
        expect(page.get_by_role("heading", name="CAKE")).to_be_visible()


def test_only_tiles_that_can_be_seen_fetch_snapshots(browser: Browser, url: str, live: dict[str, Session]) -> None:
    with opened(browser, "about:blank", size="phone") as page:
        page.set_viewport_size({"width": 360, "height": 100})
        fetched: set[str] = set()
        page.on("request", lambda request: fetched.update(re.findall(r"sessions/([^/]+)/snapshot", request.url)))
        page.goto(f"{url}/#wall")
        wait_until_all_run(page)
        expect(page.locator("#tiles .name").last).to_have_text("lobby", timeout=PATIENCE_MS)
        fetched.clear()
        for _ in range(4):
            page.wait_for_event("requestfinished", lambda request: SNAPSHOTS.search(request.url) is not None)
        assert live["yard"].id in fetched
        assert live["lobby"].id not in fetched
        with page.expect_request(re.compile(f"{live['lobby'].id}/snapshot")):
            tiles(page).last.scroll_into_view_if_needed()


def test_few_snapshots_are_fetched_at_a_time_and_a_quiet_session_is_not_watched(
    browser: Browser, url: str, live: dict[str, Session]
) -> None:
    held: list[Route] = []
    with opened(browser, "about:blank") as page:
        page.route(SNAPSHOTS, lambda route: held.append(route))
        page.goto(f"{url}/#wall")
        while len(held) < 3:
            page.evaluate(NEXT_FRAME)
        page.evaluate(NEXT_FRAME)
        assert len(held) == 3
        with page.expect_request(SNAPSHOTS):
            held[0].continue_()
        quiet = [route.request.url for route in held if live["yard"].id not in route.request.url]
        assert all(address.endswith("watch=false") for address in quiet)
        page.unroute_all(behavior="ignoreErrors")


@pytest.mark.parametrize(
    ("ratios", "grid", "ratio", "least_share"),
    [
        ([HD], (1, 1), HD, 0.85),
        # No two such images of the same size fill more than half of a screen.
        ([HD] * 2, (2, 1), HD, 0.5),
        ([HD] * 3, (2, 2), HD, 0.55),
        ([HD] * 5, (3, 2), HD, 0.55),
        ([HD] * 9, (3, 3), HD, 0.7),
        ([VGA] * 2, (2, 1), VGA, 0.7),
        ([PORTRAIT] * 3, (3, 1), PORTRAIT, 0.8),
        # The wide one is as wide as the other.
        ([HD, VGA], (2, 1), VGA, 0.6),
        ([None, VGA], (2, 1), VGA, 0.35),
    ],
)
def test_pictures_are_as_large_as_their_shape_allows(
    browser: Browser, url: str, ratios: list[float | None], grid: tuple[int, int], ratio: float, least_share: float
) -> None:
    with opened(browser, f"{url}/#wall") as page:
        columns, rows, chosen, share = page.evaluate(FILLED, [ratios, 2520, 1320])
        assert (columns, rows) == grid
        assert chosen == pytest.approx(ratio)
        assert share > least_share


def test_tiles_grow_with_the_window_and_scroll_once_they_would_be_too_small(
    browser: Browser, url: str, live: dict[str, Session]
) -> None:
    with opened(browser, f"{url}/#wall") as page:
        wait_until_all_run(page)
        page.wait_for_function(ALL_ARE_PAINTED)
        for width, height in ((2560, 1440), (1280, 800)):
            page.set_viewport_size({"width": width, "height": height})
            page.evaluate(NEXT_FRAME)
            for tile in tiles(page).all():
                expect(tile).to_be_in_viewport(ratio=1)
            boxes = [tile.bounding_box() for tile in tiles(page).all()]
            assert sum(box["width"] * box["height"] for box in boxes if box) > 0.6 * width * height
            # Most cameras have this shape.
            image = page.locator("#tiles canvas").first.bounding_box()
            assert image is not None
            assert image["width"] / image["height"] == pytest.approx(VGA, abs=0.02)
        page.set_viewport_size({"width": 900, "height": 320})
        expect(tiles(page).last).not_to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
