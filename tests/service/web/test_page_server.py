"""The view of the server shows its version, workers, capacity, disk and models."""

import re
from collections.abc import Iterator
from importlib.metadata import version

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.support.page_driver import PATIENCE_MS, free_port, opened, served

pytestmark = pytest.mark.slow

LINES = """(cells) => cells.map((cell) => {
    const text = document.createRange();
    text.selectNodeContents(cell);
    return text.getClientRects().length;
})"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with several models."""
    with served(tmp_path_factory.mktemp("served"), free_port(), "mocap,people,fight") as address:
        yield address


@pytest.mark.parametrize(("size", "scheme"), [("phone", "dark"), ("wide", "light")])
def test_the_server_is_shown_without_barriers(browser: Browser, url: str, size: str, scheme: str) -> None:
    with opened(browser, f"{url}/#server", size=size, scheme=scheme) as page:
        facts = page.locator("#server-facts")
        expect(facts).to_contain_text(re.compile(r"Ready\s*yes"), timeout=PATIENCE_MS)
        expect(facts).to_contain_text(re.compile(rf"Version\s*{re.escape(version('cake-served'))}"))
        expect(facts).to_contain_text(re.compile(r"Workers\s*[1-9]"))
        expect(facts).to_contain_text(re.compile(r"Capacity\s*0 of [1-9]\d*00 steps per second are reserved \(0%\)"))
        expect(facts).to_contain_text(re.compile(r"Live sessions\s*none"))
        expect(facts).to_contain_text("are free")
        expect(page.get_by_role("row", name="mocap")).to_contain_text("kick")
        results = Axe().run(page)
        assert results.violations_count == 0, results.generate_report()
        for width in (360, 768, 2560):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
            assert page.locator("#server-models th").evaluate_all(LINES) == [1, 1, 1], width
