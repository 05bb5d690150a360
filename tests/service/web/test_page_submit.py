"""What the page's form submits in a real browser, and what it says about what it cannot submit."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.page_driver import (
    PATIENCE_MS,
    SAMPLE,
    focus_by_tab,
    opened,
    shown_actions,
    shown_state,
    write_streamable,
)
from tests.support.video_server import serve_folder

pytestmark = pytest.mark.slow


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    with opened(browser, f"{url}/#sessions") as page:
        yield page


def test_an_unreadable_file_shows_why(page: Page, url: str) -> None:
    page.get_by_label("Choose a video").set_input_files(
        {"name": "notes.mp4", "mimeType": "video/mp4", "buffer": b"These are notes and no video.\n" * 200}
    )
    expect(shown_state(page)).to_have_text("failed", timeout=PATIENCE_MS)
    session_id = page.url.partition("session=")[2]
    detail = httpx.get(f"{url}/v1/sessions/{session_id}", timeout=120).json()["detail"]
    expect(page.locator("#notice")).to_have_text(detail)


def test_a_session_of_a_url_that_failed_is_tried_again(browser: Browser, url: str) -> None:
    body = {"source": {"url": "http://user:hunter2@127.0.0.1:9/clip.mp4"}, "name": "gate"}
    session = httpx.post(f"{url}/v1/sessions", json=body, timeout=120).raise_for_status().json()
    with opened(browser, f"{url}/#session={session['id']}") as page:
        expect(shown_state(page)).to_have_text("failed", timeout=PATIENCE_MS)
        page.get_by_role("button", name="Try again").click()
        page.wait_for_url(lambda address: session["id"] not in address)
        expect(page.get_by_role("heading", name="gate")).to_be_visible(timeout=PATIENCE_MS)
        assert page.get_by_role("link", name="gate").count() >= 1


def test_a_url_that_could_not_be_opened_is_offered_again_and_forgotten_once_another_works(
    page: Page, tmp_path: Path
) -> None:
    wrong = "http://user:hunter2@127.0.0.1:9/clip.mp4"
    field = page.get_by_label("URL of a video")
    page.get_by_text("More: ").click()
    page.get_by_label("Name of the session").fill("gate")
    field.fill(wrong)
    page.get_by_role("button", name="Start").click()
    expect(shown_state(page)).to_have_text("failed", timeout=PATIENCE_MS)
    expect(field).to_have_value(wrong, timeout=PATIENCE_MS)
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Name of the session")).to_have_value("gate")
    expect(page.get_by_role("alert")).to_contain_text("Correct the URL if it is wrong", timeout=PATIENCE_MS)
    write_streamable(SAMPLE, tmp_path / SAMPLE.name)
    with serve_folder(tmp_path) as address:
        field.fill(f"http://user:hunter2@{address}/{SAMPLE.name}")
        page.get_by_role("button", name="Start").click()
        expect(shown_actions(page).first).to_be_visible(timeout=PATIENCE_MS)
        page.locator("#stop").click()
        expect(shown_state(page)).to_have_text("stopped", timeout=PATIENCE_MS)
        assert "hunter2" not in page.content()
        expect(field).to_have_value("")


def test_a_rejected_submission_shows_the_server_s_detail(page: Page) -> None:
    # Before a worker is ready, the server rejects every submission for that reason.
    expect(page.get_by_label("Model").get_by_role("option")).not_to_have_count(0, timeout=PATIENCE_MS)
    page.get_by_label("Choose a video").set_input_files({"name": "empty.mp4", "mimeType": "video/mp4", "buffer": b""})
    expect(page.get_by_role("alert")).to_contain_text("empty", timeout=PATIENCE_MS)
    page.get_by_label("URL of a video").fill("ftp://example.org/clip.mp4")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("alert")).to_contain_text("http", timeout=PATIENCE_MS)
    expect(page.get_by_label("URL of a video")).to_have_attribute("aria-invalid", "true")


def test_a_dropped_video_is_submitted(page: Page) -> None:
    # The page fills this list once it accepts dropped files.
    expect(page.get_by_label("Model").get_by_role("option")).not_to_have_count(0, timeout=PATIENCE_MS)
    page.evaluate(
        """() => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File(["no video"], "dropped.mp4", { type: "video/mp4" }));
            for (const type of ["dragenter", "dragover", "drop"])
                document.body.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
        }"""
    )
    expect(page.get_by_role("heading", name="dropped.mp4")).to_be_visible(timeout=PATIENCE_MS)


def test_a_url_is_submitted_with_the_keyboard(page: Page, tmp_path: Path) -> None:
    write_streamable(SAMPLE, tmp_path / SAMPLE.name)
    with serve_folder(tmp_path) as address:
        focus_by_tab(page, "url")
        page.keyboard.type(f"http://{address}/{SAMPLE.name}")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name=f"http://{address}/{SAMPLE.name}")).to_be_visible(timeout=PATIENCE_MS)
        expect(shown_actions(page).first).to_be_visible(timeout=PATIENCE_MS)
        focus_by_tab(page, "stop")
        page.keyboard.press("Enter")
        expect(shown_state(page)).to_have_text("stopped", timeout=PATIENCE_MS)
