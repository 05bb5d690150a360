"""Submit sessions with regions, read them back, and see invalid ones rejected by field."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from service.event_schemas import ActionStartEvent, next_event_id
from service.requests import RegionRequest
from service.store.records import ScoreRow, SessionUpdate
from tests.support.api_kit import problem, upload
from tests.support.running_server import Running, running_server, start_event

URL = "http://example.org/clip.mp4"
DOOR: dict[str, Any] = {"name": "door", "x": 0.0, "y": 0.1, "width": 0.3, "height": 0.9}
YARD: dict[str, Any] = {"name": "yard 2", "x": 0.5, "y": 0.0, "width": 0.5, "height": 1.0}


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "data", max_upload_bytes=4_000_000) as running:
        yield running


async def test_a_session_of_regions_shows_them_and_is_counted_once_for_each(server: Running) -> None:
    body = {"source": {"url": URL}, "regions": [DOOR, YARD], "pace": "realtime"}
    session = (await server.http.post("/v1/sessions", json=body)).json()
    assert session["regions"] == [DOOR, YARD]
    assert (await server.http.get(session["links"]["self"])).json()["regions"] == [DOOR, YARD]
    assert (await server.worker.store.workers.load()).reserved_steps_per_s == 20.0
    record = await server.worker.claim()
    assert [region.name for region in record.regions] == ["door", "yard 2"]
    await upload(server, regions=[DOOR])
    assert [region.name for region in (await server.worker.claim()).regions] == ["door"]
    whole = (await server.http.post("/v1/sessions", json={"source": {"url": URL}})).json()
    assert whole["regions"] == []


async def test_regions_that_no_single_worker_can_run_are_refused(server: Running) -> None:
    server.worker.capacity_steps_per_s = 30.0
    for server.worker.id in ("w1", "w2"):
        await server.worker.register()
    regions = [{**DOOR, "name": str(number)} for number in range(4)]
    body = {"source": {"url": URL}, "regions": regions, "pace": "realtime"}
    refused = problem(await server.http.post("/v1/sessions", json=body), 503, "over_capacity")
    assert "4 regions need 40 steps/s" in refused.detail
    body["regions"] = regions[:3]
    assert (await server.http.post("/v1/sessions", json=body)).status_code == 202


INVALID: list[tuple[object, str]] = [
    ([{**DOOR, "width": 0.0}], "regions.0.width"),
    ([YARD, {**DOOR, "height": 0.009}], "regions.1.height"),
    ([{**DOOR, "x": -0.1}], "regions.0.x"),
    ([{**DOOR, "y": 1.5}], "regions.0.y"),
    ([{**DOOR, "x": 0.8}], "regions.0.width"),
    ([{**DOOR, "y": 0.2}], "regions.0.height"),
    ([{**DOOR, "x": "left"}], "regions.0.x"),
    ([{**DOOR, "x": float("nan")}], "regions.0.x"),
    ([{**DOOR, "height": float("inf")}], "regions.0.height"),
    ([DOOR, DOOR], "regions"),
    ([{**DOOR, "name": str(number)} for number in range(9)], "regions"),
    ([{**DOOR, "name": ""}], "regions.0.name"),
    ([{**DOOR, "name": " door"}], "regions.0.name"),
    ([{**DOOR, "name": "a,b"}], "regions.0.name"),
    ([{**DOOR, "name": "a=b"}], "regions.0.name"),
    ([{**DOOR, "name": "a\n"}], "regions.0.name"),
    ([{**DOOR, "name": "n" * 41}], "regions.0.name"),
    ([{"name": "door", "x": 0, "y": 0, "width": 1}], "regions.0.height"),
    ([{**DOOR, "angle": 3}], "regions.0.angle"),
    ("door", "regions"),
]


async def test_an_invalid_region_is_rejected_with_its_field(server: Running) -> None:
    for regions, field in INVALID:
        body = json.dumps({"source": {"url": URL}, "regions": regions})
        response = await server.http.post("/v1/sessions", content=body, headers={"Content-Type": "application/json"})
        errors = problem(response, 422, "invalid_request").errors
        assert errors is not None
        assert [error.field for error in errors] == [field], regions


def test_decimal_fractions_that_add_up_to_the_edge_are_accepted() -> None:
    for x in range(99):
        RegionRequest(name="door", x=x / 100, y=0.0, width=(100 - x) / 100, height=1.0)


async def test_events_and_scores_are_those_of_a_region(server: Running) -> None:
    body = {"source": {"url": URL}, "regions": [DOOR, YARD], "labels": ["jump", "kick"]}
    session = (await server.http.post("/v1/sessions", json=body)).json()
    record = await server.worker.claim()
    event = start_event(record, next_event_id(record.last_event_id, 0.5), 0.5)
    assert isinstance(event, ActionStartEvent)
    scores = [ScoreRow(0.5, (0.125, 0.25, 0.5, 0.75))]
    events = [event.model_copy(update={"region": "yard 2"})]
    update = SessionUpdate(position_s=0.5)
    await server.worker.store.log.commit(record.id, record.token, events=events, update=update, scores=scores)
    reported = (await server.http.get(session["links"]["events"])).json()["events"]
    assert [(each["type"], each.get("region")) for each in reported] == [
        ("session.state", None),
        ("action.start", "yard 2"),
    ]
    for query, region, expected in (
        ({}, "door", [0.125, 0.25]),
        ({"region": "door"}, "door", [0.125, 0.25]),
        ({"region": "yard 2"}, "yard 2", [0.5, 0.75]),
    ):
        read = (await server.http.get(session["links"]["scores"], params=query)).json()
        assert (read["region"], read["labels"], read["scores"]) == (region, ["jump", "kick"], [expected])
    unknown = problem(await server.http.get(session["links"]["scores"], params={"region": "x"}), 422, "invalid_request")
    assert "door, yard 2" in unknown.detail
