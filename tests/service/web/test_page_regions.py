"""Regions on the page: drawn or typed, shown on the snapshot, in the events and in the plot.

The browser and the page are real; the answers of the API are canned, so that no video needs to be analysed.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, Route, WebSocketRoute, expect

from service.api.sessions import session_response
from service.event_schemas import ActionStartEvent, Latency
from service.schemas import FrameRegion, NamedRegion, Scores, VideoProperties
from service.sources.stored import StoredUpload
from service.store.records import SessionRecord
from tests.support.page_driver import chromium, opened
from tests.support.paths import ROOT

ADDRESS = "http://127.0.0.1:9"
WEB = ROOT / "service" / "web"
NOW = datetime(2026, 11, 29, tzinfo=UTC)
DOOR = NamedRegion(name="door", x=0.0, y=0.0, width=0.25, height=1.0)
YARD = NamedRegion(name="yard", x=0.5, y=0.5, width=0.5, height=0.5)


class CannedApi:
    """Answers the requests of the page for one running session of two regions, and keeps what it submits."""

    def __init__(self) -> None:
        self.submitted: list[dict[str, Any]] = []
        self.scores_of: list[str | None] = []
        seen = [FrameRegion(**region.model_dump(exclude={"name"})) for region in (DOOR, YARD)]
        self._record = SessionRecord(
            id="s1",
            source=StoredUpload(filename="two.mp4", regions=(DOOR, YARD)),
            model="mocap",
            model_version="1",
            labels=("kick", "jump"),
            pace="fast",
            cost_steps_per_s=4.0,
            created_at=NOW,
            state="running",
            position_s=5.0,
            frames=50,
            video=VideoProperties(
                codec="h264", width=640, height=360, rate_hz=25.0, duration_s=None, rotation_deg=0,
                analysed_regions=seen,
            ),
        )  # fmt: skip

    def serve(self, page: Page) -> None:
        page.route("**/*", self._answer)
        page.route_web_socket("**/s1/events*", self._send_events)
        page.route_web_socket("**/v1/events*", lambda _socket: None)

    def _answer(self, route: Route) -> None:
        url = urlsplit(route.request.url)
        session = session_response(self._record, "")
        match (route.request.method, url.path):
            case ("POST", "/v1/sessions"):
                self.submitted.append(json.loads(route.request.post_data or "{}"))
                route.fulfill(status=422, json={"code": "invalid_request", "detail": "regions.1.width: too wide."})
            case ("GET", "/v1/sessions"):
                route.fulfill(json={"sessions": [session.model_dump(mode="json")], "next": None})
            case ("GET", "/v1/sessions/s1"):
                route.fulfill(json=session.model_dump(mode="json"))
            case ("GET", "/v1/sessions/s1/scores"):
                region = parse_qs(url.query).get("region", [None])[0]
                self.scores_of.append(region)
                times_s = [] if "after_s" in url.query else [step / 10 for step in range(50)]
                scores = Scores(
                    region=region, labels=["kick", "jump"], pts_s=times_s, scores=[[0.1, 0.9]] * len(times_s)
                )
                route.fulfill(json=scores.model_dump(mode="json"))
            case ("GET", "/v1/sessions/s1/snapshot.jpg"):
                white = BytesIO()
                Image.new("RGB", (640, 360), "white").save(white, "JPEG")
                route.fulfill(body=white.getvalue(), content_type="image/jpeg")
            case ("GET", "/v1/events"):
                route.fulfill(json={"entries": [], "next": None, "end": "0"})
            case ("GET", "/v1/models"):
                route.fulfill(json={"default": "mocap", "models": [{"name": "mocap", "labels": ["kick", "jump"]}]})
            case ("GET", "/v1/sessions/s1/feedback"):
                route.fulfill(json={"feedback": []})
            case ("GET", "/v1/sessions/s1/video"):
                route.fulfill(status=404, json={"code": "not_found", "detail": "The uploaded video is gone."})
            case ("GET", "/v1/sessions/s1/events/1000-0/clip.mp4"):
                route.fulfill(status=404, json={"code": "not_found", "detail": "There is no clip of this event."})
            case ("GET", "/v1/storage"):
                route.fulfill(status=403, json={"code": "missing_scope", "detail": "This needs the scope admin."})
            case ("GET", path) if path.startswith("/v1/"):
                route.fulfill(status=403, json={"code": "missing_scope", "detail": "This needs another scope."})
            case ("GET", path):
                route.fulfill(path=WEB / Path(path.removeprefix("/static/").strip("/") or "index.html"))

    def _send_events(self, socket: WebSocketRoute) -> None:
        for number, region in enumerate((DOOR, YARD), start=1):
            event = ActionStartEvent(
                id=f"{number}000-0", session_id="s1", decided_s=number, time=NOW, model="mocap", model_version="1",
                region=region.name, label="kick", score=0.9, start_s=number - 0.1,
                latency_s=Latency(decode=0.0, queue=0.0, infer=0.0, total=0.0),
            )  # fmt: skip
            socket.send(event.model_dump_json())


@pytest.fixture(scope="module")
def api() -> CannedApi:
    return CannedApi()


@pytest.fixture(scope="module")
def page(api: CannedApi) -> Iterator[Page]:
    with chromium() as browser, opened(browser, "about:blank") as page:
        api.serve(page)
        page.goto(f"{ADDRESS}/#session=s1")
        yield page


def test_a_session_of_regions_shows_them_on_the_snapshot_in_the_events_and_in_the_plot(
    page: Page, api: CannedApi
) -> None:
    expect(page.locator("#session-facts")).to_contain_text("regions: door, yard")
    page.wait_for_function(f"async () => Math.abs(await ({BRIGHT_SHARE})() - 0.5) < 0.03")
    rows = page.get_by_role("table", name="Events").get_by_role("rowheader")
    expect(rows).to_have_text(["kick in yard", "kick in door"])
    expect(page.locator("#latest-label")).to_have_text("kick in yard")
    choice = page.get_by_role("combobox", name="Region")
    expect(choice).to_have_value("door")
    choice.select_option("yard")
    page.wait_for_function("() => document.getElementById('plot-summary').textContent !== ''")
    assert api.scores_of[0] == "door"
    page.get_by_role("button", name="0:00.9, play").click()
    expect(choice).to_have_value("door")
    assert "yard" in api.scores_of


def test_name_actions_webhook_camera_and_regions_of_the_next_session_are_chosen_drawn_or_typed(
    page: Page, api: CannedApi
) -> None:
    page.get_by_text("More: ").click()
    page.get_by_label("Name of the session").fill("gate")
    page.get_by_role("checkbox", name="jump").uncheck()
    page.get_by_label("Webhook").fill("https://example.org/hook")
    page.get_by_label("Transport of RTSP").select_option("UDP")
    page.get_by_label("Fail if lost").fill("-1")
    page.get_by_label("URL of a video or camera").fill("rtsp://example.org/a")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#form-error")).to_contain_text("how many seconds a camera may be lost")
    page.get_by_label("Fail if lost").fill("90")
    page.get_by_text("Regions: whole frame").click()
    page.wait_for_function(f"async () => await ({BRIGHT_SHARE})() > 0.99")
    draw(page, (0.0, 0.0), (0.5, 1.0))
    page.get_by_label("Name", exact=True).fill("left half")
    page.get_by_role("button", name="Add a region").focus()
    page.keyboard.press("Enter")
    page.keyboard.type("corner")
    for percentage in ("50", "50", "50", "40"):
        page.keyboard.press("Tab")
        page.keyboard.type(percentage)
    page.wait_for_function(f"async () => Math.abs(await ({BRIGHT_SHARE})() - 0.7) < 0.03")
    assert Axe().run(page).response["violations"] == []
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#form-error")).to_contain_text("regions.1.width: too wide.")
    asked = api.submitted[0]
    assert (asked["name"], asked["labels"], asked["webhook"]["url"]) == ("gate", ["kick"], "https://example.org/hook")
    assert asked["source"] == {"url": "rtsp://example.org/a", "transport": "udp", "max_down_s": 90}
    left, corner = asked["regions"]
    assert left.pop("name") == "left half"
    assert left == pytest.approx({"x": 0.0, "y": 0.0, "width": 0.5, "height": 1.0}, abs=0.02)
    assert corner == {"name": "corner", "x": 0.5, "y": 0.5, "width": 0.5, "height": 0.4}
    page.get_by_role("button", name="Remove").first.click()
    expect(page.get_by_text("Regions: 1")).to_be_visible()


# The share of the snapshot, a white frame, that is not shaded.
BRIGHT_SHARE = """async () => {
  const canvas = document.getElementById('snapshot');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let bright = 0;
  for (let at = 0; at < data.length; at += 4) bright += data[at] > 200;
  return bright / (data.length / 4);
}"""


def draw(page: Page, begin: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag over the snapshot; positions are fractions of the frame, which is letterboxed in its element."""
    snapshot = page.locator("#snapshot")
    left, top, width, height = snapshot.evaluate(
        """(canvas) => {
          const box = canvas.getBoundingClientRect();
          const scale = Math.min(box.width / canvas.width, box.height / canvas.height);
          const [width, height] = [canvas.width * scale, canvas.height * scale];
          return [(box.width - width) / 2, (box.height - height) / 2, width, height];
        }"""
    )
    # Hovering waits until the snapshot neither moves nor is covered, and scrolls to it.
    snapshot.hover(position={"x": left + begin[0] * width + 1, "y": top + begin[1] * height + 1})
    page.mouse.down()
    snapshot.hover(position={"x": left + end[0] * width, "y": top + end[1] * height - 1})
    page.mouse.up()
