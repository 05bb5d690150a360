"""Events over JSON, SSE and WebSocket: what was missed, then what is new, in order, nothing twice."""

import asyncio
import json
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from running_server import Running, Worker, child_server, running_server
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from service.store import open_store


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "data") as running:
        yield running


def times_s(first: int, last: int) -> list[float]:
    return [n / 10 for n in range(first, last)]


async def received(socket: ClientConnection, count: int) -> list[dict[str, Any]]:
    return [json.loads(await socket.recv()) for _ in range(count)]


async def collect(socket: ClientConnection, ids: list[str]) -> None:
    """Append the ids of what comes until the connection ends, in whichever way."""
    with suppress(ConnectionClosed):
        while True:
            ids.append(json.loads(await socket.recv())["id"])


async def all_ids(server: Running, session_id: str) -> list[str]:
    return [event.id for event in await server.worker.store.read_events(session_id, limit=10_000)]


# JSON


async def test_pages_follow_each_other_by_their_cursor(server: Running) -> None:
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


async def test_a_long_poll_without_news_ends_in_time_and_keeps_the_cursor(server: Running) -> None:
    session = await server.running_session()
    page = (await server.http.get(session.links.events, params={"after": "0-1", "wait_s": 0.05})).json()
    assert page == {"events": [], "next": "0-1"}
    await server.worker.enter(session.id, "completed")
    params: dict[str, Any] = {"after": "0-2", "wait_s": 30}
    assert (await server.http.get(session.links.events, params=params)).json()["events"] == []


@pytest.mark.parametrize("after", ["x", "1", "1-", "1-1-1", "١-0", "99999999999999999999-0"])
async def test_a_cursor_that_is_none_is_refused(server: Running, after: str) -> None:
    session = await server.submit()
    refused = await server.http.get(session.links.events, params={"after": after})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "after")


async def test_events_of_an_unknown_session_are_not_found_by_any_transport(server: Running) -> None:
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


async def test_a_stream_has_the_history_then_the_live_events_and_ends_with_the_session(server: Running) -> None:
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


async def test_a_browser_resumes_after_the_last_event_id_and_is_told_to_stay_away_at_the_end(server: Running) -> None:
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


async def test_a_quiet_stream_has_heartbeats(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.api.events.HEARTBEAT_S", 0.05)
    session = await server.running_session()
    async with server.http.stream("GET", session.links.events, headers={"Accept": "text/event-stream"}) as response:
        lines = response.aiter_lines()
        while await anext(lines) != ": heartbeat":
            pass


# WebSocket


async def test_a_socket_has_the_history_then_the_live_events_and_closes_with_the_session(server: Running) -> None:
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


async def test_an_ended_session_is_told_whole_and_closed(server: Running) -> None:
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


async def test_a_socket_refuses_a_cursor_that_is_none(server: Running) -> None:
    session = await server.submit()
    for path in (f"{session.links.events}?after=x", "/v1/events?after=1-0"):
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.ws_url + path)
        assert refused.value.response.status_code == 422
        assert refused.value.response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("seed", range(4))
async def test_a_client_that_drops_at_random_gets_everything_once(server: Running, seed: int) -> None:
    session = await server.running_session()
    dice = random.Random(seed)

    async def work() -> None:
        for n in range(40):
            await server.worker.starts(session.id, [n / 10, n / 10, n / 10 + 0.05])
            await asyncio.sleep(dice.random() * 0.02)
        await server.worker.enter(session.id, "completed")

    working = asyncio.create_task(work())
    ids: list[str] = []
    ended = False
    while not ended:
        url = server.ws_url + session.links.events + (f"?after={ids[-1]}" if ids else "")
        async with connect(url, close_timeout=0.2) as socket:
            for _ in range(dice.randrange(1, 30)):
                try:
                    event = json.loads(await socket.recv())
                except ConnectionClosed:
                    break
                ids.append(event["id"])
                ended = event.get("state") == "completed"
            if dice.random() < 0.5:
                socket.transport.abort()
    await working
    assert ids == await all_ids(server, session.id)


async def test_all_sessions_are_followed_by_one_growing_cursor(server: Running) -> None:
    async with connect(server.ws_url + "/v1/events") as socket:
        await asyncio.sleep(0.1)
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


async def test_without_a_cursor_all_sessions_start_with_the_present(server: Running) -> None:
    session = await server.running_session()
    async with connect(server.ws_url + "/v1/events") as socket:
        await asyncio.sleep(0.2)
        await server.worker.starts(session.id, [0.5])
        assert [entry["event"]["id"] for entry in await received(socket, 1)] == ["500-0"]


async def test_a_slow_client_is_closed_and_can_resume_and_slows_no_other(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.feed.BUFFER", 50)
    monkeypatch.setattr("service.api.events.SEND_PATIENCE_S", 60)
    session = await server.running_session()
    url = server.ws_url + session.links.events
    async with connect(url, max_queue=1, ping_interval=None) as slow, connect(url) as quick:
        await received(slow, 2)
        reading = asyncio.create_task(received(quick, 152))
        for _ in range(150):
            await server.worker.enter(session.id, "running", detail="x" * 100_000)
        assert len(await reading) == 152
        ids = ["0-0", "0-1"]
        await collect(slow, ids)
        assert slow.close_code == 1013
    assert len(ids) < 152
    async with connect(f"{url}?after={ids[-1]}") as resumed:
        ids += [event["id"] for event in await received(resumed, 152 - len(ids))]
    assert ids == await all_ids(server, session.id)
    assert 'cake_slow_clients_total{transport="websocket"} 1.0' in (await server.http.get("/metrics")).text


async def test_many_clients_get_every_event_soon(server: Running) -> None:
    session = await server.running_session()
    url = server.ws_url + session.links.events
    sockets = [await connect(url) for _ in range(30)]
    delays_s: list[float] = []
    committing_s: dict[str, float] = {}

    async def listen(socket: ClientConnection) -> list[str]:
        ids = []
        async for message in socket:
            event = json.loads(message)
            ids.append(event["id"])
            if event["id"] in committing_s:
                delays_s.append(time.perf_counter() - committing_s[event["id"]])
        return ids

    listening = [asyncio.create_task(listen(socket)) for socket in sockets]
    for n in range(1, 21):
        committing_s[f"{n * 100}-0"] = time.perf_counter()
        await server.worker.starts(session.id, [n / 10])
        await asyncio.sleep(0.03)
    await server.worker.enter(session.id, "completed")
    expected = await all_ids(server, session.id)
    assert all(ids == expected for ids in await asyncio.gather(*listening))
    assert len(delays_s) == 30 * 20
    assert sorted(delays_s)[len(delays_s) // 2] < 1.0


async def test_sigterm_ends_the_server_in_time_whoever_is_connected(tmp_path: Path) -> None:
    async with child_server(tmp_path / "data") as child:
        store = open_store(f"sqlite://{tmp_path}/data/cake.db")
        await Worker(store).register()
        await store.close()
        async with httpx.AsyncClient(base_url=child.url, verify=False) as client:
            path = (await client.post("/v1/sessions", json={"source": {"url": "http://a/b"}})).json()["links"]["events"]
            url = child.url.replace("http", "ws", 1)
            sockets = [await connect(url + path), await connect(url + "/v1/events"), await connect(url + path)]
            async with client.stream("GET", path, headers={"Accept": "text/event-stream"}) as stream:
                await anext(stream.aiter_lines())
                started_s = time.monotonic()
                child.process.send_signal(signal.SIGTERM)
                assert await child.process.wait() == 0
                assert time.monotonic() - started_s < 10
        for connected in sockets:
            await connected.wait_closed()
            assert connected.close_code == 1012
        assert "Traceback" not in child.log.read_text()


async def test_a_client_resumes_after_the_server_was_killed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with child_server(data) as child:
        port = httpx.URL(child.url).port
        store = open_store(f"sqlite://{data}/cake.db")
        worker = Worker(store)
        await worker.register()
        async with httpx.AsyncClient(base_url=child.url, verify=False) as client:
            created = (await client.post("/v1/sessions", json={"source": {"url": "http://a/b"}})).json()
        await worker.claim()
        await worker.starts(created["id"], times_s(1, 5))
        url = child.url.replace("http", "ws", 1) + created["links"]["events"]
        async with connect(url) as socket:
            ids = [event["id"] for event in await received(socket, 3)]
            child.process.kill()
            await collect(socket, ids)
    await worker.starts(created["id"], times_s(5, 8))
    async with child_server(data, port=port), connect(f"{url}?after={ids[-1]}") as socket:
        ids += [event["id"] for event in await received(socket, 8 - len(ids))]
        await worker.enter(created["id"], "completed")
        ids += [json.loads(message)["id"] async for message in socket]
    assert ids == [event.id for event in await store.read_events(created["id"])]
    await store.close()
