"""Events of all sessions, and the filters that every page and stream of events accepts."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.support.access_kit import bearer, make_key
from tests.support.api_kit import problem
from tests.support.events_kit import received, times_s
from tests.support.running_server import Running

EVENT_STREAM = {"Accept": "text/event-stream"}


async def entries(server: Running, **params: Any) -> list[tuple[str, str]]:
    """Session and id of the events on one page."""
    page = (await server.http.get("/v1/events", params=params)).raise_for_status().json()
    return [(entry["event"]["session_id"], entry["event"]["id"]) for entry in page["entries"]]


async def test_the_newest_events_of_all_sessions_come_first_and_are_followed_from_the_end(server: Running) -> None:
    first, second = await server.running_session(), await server.running_session()
    await server.worker.starts(first.id, [0.5])
    page = (await server.http.get("/v1/events", params={"limit": 2})).json()
    rest = (await server.http.get("/v1/events", params={"before": page["next"]})).json()
    ids = [(entry["event"]["session_id"], entry["event"]["id"]) for entry in page["entries"] + rest["entries"]]
    assert ids == [(first.id, "500-0"), (second.id, "0-1"), (second.id, "0-0"), (first.id, "0-1"), (first.id, "0-0")]
    assert (rest["next"], rest["end"]) == (None, page["end"])
    await server.worker.starts(second.id, [0.7])
    assert await entries(server, after=page["end"]) == [(second.id, "700-0")]
    oldest = (await server.http.get("/v1/events", params={"after": "0", "limit": 5})).json()
    assert [entry["event"]["id"] for entry in oldest["entries"]][-1] == "500-0"
    assert await entries(server, after=oldest["next"]) == [(second.id, "700-0")]
    both = await server.http.get("/v1/events", params={"after": "1", "before": "2"})
    problem(both, 422, "invalid_request")


async def test_pages_are_filtered_by_session_type_label_name_metadata_time_and_score(server: Running) -> None:
    session = await server.submit(name="gate", metadata={"site": "north"})
    await server.worker.claim()
    await server.worker.starts(session.id, [0.5])
    other = await server.running_session()
    wanted, now = (session.id, "500-0"), datetime.now(UTC)
    passing: list[dict[str, Any]] = [
        {"label": ["kick", "walk"]},
        {"type": "action.start"},
        {"name": "gate", "min_score": 0.9},
        {"metadata.site": ["north", "south"], "type": "action.start"},
        {"session": session.id, "since": (now - timedelta(hours=1)).isoformat(), "type": "action.start"},
    ]
    for params in passing:
        assert await entries(server, **params) == [wanted], params
        assert await entries(server, after="0", **params) == [wanted], params
    rejecting: list[dict[str, Any]] = [
        {"label": "walk"},
        {"min_score": 0.91},
        {"name": "Gate"},
        {"metadata.site": "south"},
    ]
    for params in rejecting:
        assert await entries(server, **params) == []
    assert await entries(server, until=(now - timedelta(hours=1)).isoformat()) == []
    assert await entries(server, since=(now + timedelta(hours=2)).isoformat()) == []
    assert {session_id for session_id, _ in await entries(server, session=other.id)} == {other.id}
    assert len(await entries(server, since="0001-01-01T00:00:00+23:59")) == len(await entries(server))
    assert await entries(server, since="9999-12-31T23:59:59-23:59") == []
    assert await entries(server, until="0001-01-01T00:00:00+23:59") == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("type", "start"),
        ("since", "2026-11-29T09:00:00"),
        ("min_score", "2"),
        ("until", "x"),
        ("until", "0.5"),
        ("metadata", "north"),
    ],
)
async def test_a_filter_that_cannot_be_meant_is_rejected(server: Running, name: str, value: str) -> None:
    session = await server.submit()
    for path in ("/v1/events", session.links.events):
        rejected = problem(await server.http.get(path, params={name: value}), 422, "invalid_request")
        assert rejected.errors
        assert rejected.errors[0].field.startswith(name)


async def test_a_key_sees_only_events_of_its_own_sessions(server: Running) -> None:
    key, other, admin = [
        await make_key(server, *scopes)
        for scopes in (("sessions:write", "events:read"), ("sessions:write", "events:read"), ("admin",))
    ]
    for one in (key, other):
        body = {"source": {"push": True}, "name": "gate"}
        (await server.http.post("/v1/sessions", json=body, headers=bearer(one))).raise_for_status()
    counts = []
    for reader in (key, admin):
        page = await server.http.get("/v1/events", params={"name": "gate"}, headers=bearer(reader))
        counts.append(len(page.json()["entries"]))
    assert counts == [1, 2]
    problem(
        await server.http.get("/v1/events", headers=bearer(await make_key(server, "sessions:read"))),
        403,
        "missing_scope",
    )


async def test_filtered_pages_of_a_session_are_linked_by_the_last_examined_event(server: Running) -> None:
    session = await server.running_session()
    await server.worker.starts(session.id, times_s(1, 6))
    params: dict[str, Any] = {"type": "action.start", "limit": 3}
    page = (await server.http.get(session.links.events, params=params)).json()
    assert [event["id"] for event in page["events"]] == ["100-0", "200-0", "300-0"]
    page = (await server.http.get(session.links.events, params=params | {"after": page["next"]})).json()
    assert ([event["id"] for event in page["events"]], page["next"]) == (["400-0", "500-0"], "500-0")
    assert (await server.http.get(session.links.events, params={"label": "walk"})).json()["next"] == "500-0"


async def test_streams_of_a_session_send_only_wanted_events_and_end_with_it(server: Running) -> None:
    session = await server.running_session()
    await server.worker.starts(session.id, [0.1])
    path = session.links.events + "?type=action.start"

    async def sse() -> list[str]:
        response = await server.http.get(path, headers=EVENT_STREAM)
        return [line.removeprefix("id: ") for line in response.text.splitlines() if line.startswith("id: ")]

    stream = asyncio.create_task(sse())
    async with connect(server.ws_url + path) as socket:
        assert (await received(socket, 1))[0]["id"] == "100-0"
        await server.worker.starts(session.id, [0.2])
        await server.worker.enter(session.id, "completed")
        assert [json.loads(message)["id"] async for message in socket] == ["200-0"]
    assert await stream == ["100-0", "200-0"]
    # A browser that got all it wants does not connect again.
    answer = await server.http.get(path, headers={**EVENT_STREAM, "Last-Event-ID": "200-0"})
    assert answer.status_code == 204


async def test_events_of_all_sessions_are_streamed_with_filters_and_resumed(server: Running) -> None:
    session = await server.running_session()
    await server.worker.starts(session.id, [0.1])
    wanted = "label=kick&after=0"
    async with connect(f"{server.ws_url}/v1/events?{wanted}") as socket:
        (first,) = await received(socket, 1)
        await server.worker.starts(session.id, [0.2])
        (second,) = await received(socket, 1)
    assert [first["event"]["id"], second["event"]["id"]] == ["100-0", "200-0"]
    headers = {**EVENT_STREAM, "Last-Event-ID": first["cursor"]}
    async with server.http.stream("GET", f"/v1/events?{wanted}", headers=headers) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                assert json.loads(line.removeprefix("data: ")) == second
                break
