"""Events over JSON, SSE and WebSocket: history, then live events, in order and without duplicates."""

import asyncio
import itertools
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.events_kit import all_ids, received, times_s
from tests.support.running_server import Running

# JSON


async def test_pages_of_events_are_linked_by_their_cursor(server: Running) -> None:
    session = await server.running_session()
    await server.worker.starts(session.id, times_s(1, 6))
    ids: list[str] = []
    after: str | None = None
    while True:
        params = {"limit": 3} | ({"after": after} if after else {})
        page = (await server.http.get(session.links.events, params=params)).json()
        ids += [event["id"] for event in page["events"]]
        after = page["next"]
        if not page["events"]:
            break
    assert ids == ["0-0", "0-1", "100-0", "200-0", "300-0", "400-0", "500-0"]
    assert after == "500-0"


async def test_a_long_poll_ends_with_the_first_new_event(server: Running) -> None:
    session = await server.running_session()
    params: dict[str, Any] = {"after": "0-1", "wait_s": 30}
    waiting = asyncio.create_task(server.http.get(session.links.events, params=params))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await server.worker.starts(session.id, [1.5])
    assert [event["id"] for event in (await waiting).json()["events"]] == ["1500-0"]


async def test_a_long_poll_without_events_ends_in_time_and_keeps_the_cursor(server: Running) -> None:
    session = await server.running_session()
    page = (await server.http.get(session.links.events, params={"after": "0-1", "wait_s": 0.05})).json()
    assert page == {"events": [], "next": "0-1"}
    await server.worker.enter(session.id, "completed")
    params: dict[str, Any] = {"after": "0-2", "wait_s": 30}
    assert (await server.http.get(session.links.events, params=params)).json()["events"] == []


@pytest.mark.parametrize("after", ["x", "1", "1-", "1-1-1", "١-0", "99999999999999999999-0"])
async def test_a_malformed_cursor_is_rejected(server: Running, after: str) -> None:
    session = await server.submit()
    refused = await server.http.get(session.links.events, params={"after": after})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "after")


async def test_events_of_an_unknown_session_are_not_found_over_any_transport(server: Running) -> None:
    path = "/v1/sessions/none/events"
    for headers in ({}, {"Accept": "text/event-stream"}):
        assert (await server.http.get(path, headers=headers)).json()["code"] == "not_found"
    with pytest.raises(InvalidStatus) as refused:
        await connect(server.ws_url + path)
    assert refused.value.response.status_code == 404
    assert json.loads(refused.value.response.body)["code"] == "not_found"


# SSE


async def sse(server: Running, path: str, **headers: str) -> list[tuple[str, dict[str, Any]]]:
    """The (id, event) pairs of a stream until it ends."""
    events = []
    async with server.http.stream("GET", path, headers={"Accept": "text/event-stream", **headers}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                event_id = value
            elif name == "data":
                events.append((event_id, json.loads(value)))
    return events


async def test_a_stream_sends_history_then_live_events_and_ends_with_the_session(server: Running) -> None:
    session = await server.running_session()
    await server.worker.starts(session.id, times_s(1, 4))
    stream = asyncio.create_task(sse(server, session.links.events))
    await asyncio.sleep(0.1)
    await server.worker.starts(session.id, times_s(4, 8))
    await server.worker.enter(session.id, "completed")
    events = await stream
    assert [event_id for event_id, _ in events] == await all_ids(server, session.id)
    assert all(event_id == event["id"] for event_id, event in events)
    assert events[-1][1]["state"] == "completed"


async def test_a_browser_resumes_after_the_last_event_id_and_stops_reconnecting_at_the_end(server: Running) -> None:
    session = await server.running_session()
    await server.worker.starts(session.id, times_s(1, 4))
    await server.worker.enter(session.id, "completed")
    path = session.links.events + "?after=0-0"
    events = await sse(server, path, **{"Last-Event-ID": "200-0"})
    assert [event_id for event_id, _ in events] == ["300-0", "300-1"]
    headers = {"Accept": "text/event-stream", "Last-Event-ID": "300-1"}
    assert (await server.http.get(path, headers=headers)).status_code == 204
    refused = await server.http.get(path, headers={**headers, "Last-Event-ID": "x"})
    assert refused.json()["code"] == "invalid_request"


async def test_an_idle_stream_sends_heartbeats(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.feed.fanout.HEARTBEAT_S", 0.05)
    session = await server.running_session()
    async with server.http.stream("GET", session.links.events, headers={"Accept": "text/event-stream"}) as response:
        lines = response.aiter_lines()
        while await anext(lines) != ": heartbeat":
            pass


# WebSocket


async def test_a_websocket_sends_history_then_live_events_and_closes_with_the_session(server: Running) -> None:
    session = await server.running_session()
    await server.worker.starts(session.id, times_s(1, 1200))
    async with connect(server.ws_url + session.links.events) as socket:
        events = await received(socket, 1201)
        await server.worker.starts(session.id, times_s(1200, 1210))
        await server.worker.enter(session.id, "stopped")
        events += [json.loads(message) async for message in socket]
    assert [event["id"] for event in events] == await all_ids(server, session.id)
    assert (events[2]["type"], events[-1]["state"]) == ("action.start", "stopped")
    assert socket.close_code == 1000


async def test_a_websocket_of_an_ended_session_sends_all_events_and_closes(server: Running) -> None:
    session = await server.running_session()
    await server.worker.starts(session.id, [0.1])
    await server.worker.enter(session.id, "failed")
    for after, expected in (
        (None, ["0-0", "0-1", "100-0", "100-1"]),
        ("100-0", ["100-1"]),
        ("100-1", []),
        ("9-9", None),
    ):
        url = server.ws_url + session.links.events + (f"?after={after}" if after else "")
        async with connect(url) as socket:
            ids = [json.loads(message)["id"] async for message in socket]
        assert ids == (["100-0", "100-1"] if expected is None else expected)
        assert socket.close_code == 1000


async def test_a_websocket_rejects_a_malformed_cursor(server: Running) -> None:
    session = await server.submit()
    for path in (f"{session.links.events}?after=x", "/v1/events?after=1-0"):
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.ws_url + path)
        assert refused.value.response.status_code == 422
        assert refused.value.response.headers["content-type"] == "application/problem+json"


async def test_all_sessions_are_followed_with_one_increasing_cursor(server: Running) -> None:
    async with connect(f"{server.ws_url}/v1/events?after={await server.worker.store.log.end()}") as socket:
        first, second = await server.running_session(), await server.running_session()
        await server.worker.starts(first.id, [0.5])
        await server.worker.enter(second.id, "completed")
        entries = await received(socket, 6)
    assert [(entry["event"]["session_id"], entry["event"]["id"]) for entry in entries] == [
        (first.id, "0-0"),
        (first.id, "0-1"),
        (second.id, "0-0"),
        (second.id, "0-1"),
        (first.id, "500-0"),
        (second.id, "0-2"),
    ]
    cursors = [int(entry["cursor"]) for entry in entries]
    assert cursors == sorted(set(cursors))
    async with connect(f"{server.ws_url}/v1/events?after={cursors[2]}") as socket:
        assert await received(socket, 3) == entries[3:]
        await server.worker.starts(first.id, [0.6])
        assert (await received(socket, 1))[0]["event"]["id"] == "600-0"
    async with connect(f"{server.ws_url}/v1/events?after=0") as socket:
        assert (await received(socket, 6)) == entries


async def test_without_a_cursor_only_new_events_of_all_sessions_are_sent(server: Running) -> None:
    session = await server.running_session()
    async with connect(server.ws_url + "/v1/events") as socket:
        receiving = asyncio.create_task(received(socket, 1))
        # The first ones may come before the server has read where the log ends.
        for number in itertools.count(1):
            await server.worker.starts(session.id, [number / 10])
            if (await asyncio.wait([receiving], timeout=0.1))[0]:
                break
        [entry] = await receiving
    assert entry["event"]["type"] == "action.start"
