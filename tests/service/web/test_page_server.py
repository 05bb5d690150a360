"""The view of the server shows its version, workers, capacity, disk, models and what their shadows find."""

import asyncio
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from model.checkpoints.folders import find_checkpoint
from service.store.shadow_records import FollowedSpan, FoundBy, ShadowStart
from service.store.sqlite.store import open_sqlite_store
from tests.support.model_kit import FILES, tar_of, version_of
from tests.support.page_driver import PATIENCE_MS, SAMPLE, START_PATIENCE_S, free_port, opened, served, submit

pytestmark = pytest.mark.slow

LINES = """(cells) => cells.map((cell) => {
    const text = document.createRange();
    text.selectNodeContents(cell);
    return text.getClientRects().length;
})"""


@pytest.fixture(scope="module")
def url(data_dir: Path) -> Iterator[str]:
    """A server with several models."""
    with served(data_dir, free_port(), "mocap,people,fight") as address:
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


def test_the_difference_between_a_model_and_its_shadow_is_shown(browser: Browser, url: str, data_dir: Path) -> None:
    shipped = find_checkpoint("mocap")
    files = {name: (shipped / name).read_bytes() for name in FILES}
    httpx.put(f"{url}/v1/models/gate", content=tar_of(files), timeout=120).raise_for_status()
    other = tar_of(version_of(shipped, refractory_s=0.9))
    answer = httpx.put(f"{url}/v1/models/gate?shadow=true", content=other, timeout=120).raise_for_status().json()
    session = submit(url, SAMPLE, "Gate 3")
    # Not in this thread, in which Playwright runs a loop of its own.
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(
            asyncio.run, leave_starts(data_dir, f"gate@{answer['shadow']['version']}", session.id)
        ).result()
    deadline_s = time.monotonic() + START_PATIENCE_S
    while all(model["name"] != "gate" for model in httpx.get(f"{url}/v1/models", timeout=120).json()["models"]):
        assert time.monotonic() < deadline_s, "the worker has not loaded the model"
        time.sleep(0.5)
    with opened(browser, f"{url}/#server", size="phone") as page:
        table = page.get_by_role("table", name="Starts of gate")
        cells = table.get_by_role("row", name=re.compile("^kick")).locator("td")
        expect(cells).to_have_text(["1", "0", "1", "2", "4"], timeout=PATIENCE_MS)
        link = page.get_by_role("link", name="kick at 0:30.0 in Gate 3")
        expect(link).to_have_attribute("href", f"#session={session.id}")
        results = Axe().run(page)
        assert results.violations_count == 0, results.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def leave_starts(data_dir: Path, key: str, session_id: str) -> None:
    """As a worker does that has followed the session for half an hour."""

    def start(found_by: FoundBy, start_s: float) -> ShadowStart:
        return ShadowStart(found_by=found_by, label="kick", start_s=start_s, score=0.9, time=datetime.now(UTC))

    starts = [start("serving", 5.0), start("shadow", 5.4), start("shadow", 30.0)]
    store = open_sqlite_store(data_dir / "cake.db")
    try:
        await store.shadows.add(key, session_id, FollowedSpan(from_s=0.0, to_s=1800.0), starts, max_kept=99)
    finally:
        await store.close()


def test_sizes_change_to_the_next_unit_at_a_thousand(browser: Browser, url: str) -> None:
    with opened(browser, f"{url}/#server") as page:
        sizes = page.evaluate(
            """async (all) => {
                const { size } = await import("./static/format.js");
                return all.map(size);
            }""",
            [0, 999, 999_400, 999_700, 9_960_000],
        )
        assert sizes == ["0 B", "999 B", "999 kB", "1.0 MB", "10 MB"]
