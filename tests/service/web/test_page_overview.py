"""The strip below the plot shows the whole session, and selects what the plot shows."""

import pytest
from playwright.sync_api import Browser, Page, expect

from service.schemas import Session
from tests.support.page_driver import PATIENCE_MS, opened

pytestmark = pytest.mark.slow

IS_DRAWN = """() => {
    const canvas = document.querySelector('#overview canvas');
    if (!canvas || canvas.width === 0) return false;
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return new Set(data).size > 20;
}"""

PINCH = """(over, clientX) =>
    over.dispatchEvent(new WheelEvent("wheel", { ctrlKey: true, deltaY: 9, clientX, cancelable: true }))"""

NOTE_TEXT_SIZES = """() => {
    window.sizes_px = new Set();
    const { fillText } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.fillText = function (...drawn) {
        const { a, b } = this.getTransform();
        window.sizes_px.add(Math.round(parseFloat(this.font) * Math.hypot(a, b) / devicePixelRatio));
        return fillText.apply(this, drawn);
    };
}"""


def drag(page: Page, start: float, end: float) -> None:
    """Drag across the strip, between fractions of its width."""
    strip = page.locator("#overview")
    strip.scroll_into_view_if_needed()
    box = strip.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + start * box["width"], box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], box["y"] + 20)
    page.mouse.up()


def until_s(page: Page) -> float:
    return float(page.locator("#scrub-range").input_value())


def expect_length(page: Page, seconds: float) -> None:
    """The slider moves the end of the window, which cannot come before its length."""
    page.wait_for_function(
        "(seconds) => Math.abs(document.getElementById('scrub-range').min - seconds) < 0.5", arg=seconds
    )


@pytest.mark.parametrize("size", ["wide", "phone"])
def test_a_drag_on_the_strip_selects_what_the_plot_shows(
    browser: Browser, url: str, analysed: Session, size: str
) -> None:
    with opened(browser, f"{url}/#session={analysed.id}", size=size) as page:
        expect(page.locator("#session-state")).to_have_text("completed", timeout=PATIENCE_MS)
        page.wait_for_function(IS_DRAWN)
        drag(page, 0.2, 0.6)
        expect_length(page, 0.4 * 45)
        assert until_s(page) == pytest.approx(0.6 * 45, abs=0.6)
        page.get_by_role("button", name="Zoom out").click()
        page.get_by_role("button", name="Zoom out").click()
        expect_length(page, 45)
        expect(page.get_by_role("button", name="Zoom out")).to_be_disabled()
        for _ in range(4):
            page.get_by_role("button", name="Zoom in").click()
        expect_length(page, 5)
        expect(page.get_by_role("button", name="Zoom in")).to_be_disabled()
        # A click moves the window.
        drag(page, 0.5, 0.5)
        page.wait_for_function("() => Math.abs(document.getElementById('scrub-range').value - 25) < 1")
        # As browsers report a pinch on a touchpad, which leaves the time at the pointer where it is.
        box = page.locator("#plot .u-over").bounding_box()
        assert box is not None
        assert page.locator("#plot .u-over").evaluate(PINCH, box["x"] + box["width"]) is False
        expect_length(page, 5 * 1.25)
        assert until_s(page) == pytest.approx(25, abs=1)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("ratio", [1, 2, 3])
def test_names_in_the_plot_are_as_small_on_screens_with_finer_pixels(
    browser: Browser, url: str, analysed: Session, ratio: int
) -> None:
    page = browser.new_page(device_scale_factor=ratio, viewport={"width": 360, "height": 740})
    page.add_init_script(f"({NOTE_TEXT_SIZES})()")
    page.goto(f"{url}/#session={analysed.id}")
    # Near misses are named after the actions.
    expect(page.locator("#plot-misses .link").first).to_be_visible(timeout=PATIENCE_MS)
    page.wait_for_function("() => window.sizes_px.size > 0")
    assert page.evaluate("[...window.sizes_px]") == [12]
    page.close()


def test_names_of_actions_that_start_together_do_not_cover_each_other(
    browser: Browser, url: str, analysed: Session
) -> None:
    with opened(browser, f"{url}/#session={analysed.id}") as page:
        written = page.evaluate(
            """async () => {
                const { drawActions } = await import("./static/plot_marks.js");
                const context = document.createElement("canvas").getContext("2d");
                const written = [];
                context.fillText = (text, x) => written.push([text, x]);
                const action = { start_s: 1, end_s: 2, region: null };
                const shown = [{ ...action, id: "1-0", label: "fall" }, { ...action, id: "1-1", label: "fight" }];
                const run = { labels: ["fall", "fight"], last_s: 3 };
                const view = { left: 0, right: 600, top: 0, bottom: 100, x: (at_s) => 100 * at_s, y: () => 0 };
                const theme = { label: () => "red", text: "black" };
                drawActions(context, view, { shown, missed: [{ start_s: 4, end_s: 5, label: "fall" }], run }, theme);
                return written;
            }"""
        )
        assert written == [["fall, fight", 106], ["fall, missed", 406]]
