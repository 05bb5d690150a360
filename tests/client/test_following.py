"""cake-client follows events across failures of servers and connections, all of them or those of a filter."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from cake_client import (
    ActionStart,
    ApiError,
    AsyncClient,
    CakeError,
    Client,
    Event,
    EventFilter,
    SessionOptions,
    SessionState,
)
from tests.support.api_kit import registered
from tests.support.client_kit import start_json
from tests.support.running_server import child_server, free_port, running_server

BROKEN_OFF = 1006


@asynccontextmanager
async def scripted_server(
    *connections: tuple[list[str], int],
) -> AsyncIterator[tuple[str, list[str]]]:
    """Sends each connection its messages and closes it with its code; the paths that were requested."""
    script, requested = list(connections), []

    async def handle(socket: ServerConnection) -> None:
        assert socket.request is not None
        requested.append(socket.request.path)
        messages, code = script.pop(0)
        for message in messages:
            await socket.send(message)
        if code == BROKEN_OFF:
            socket.transport.close()
        await socket.close(code)

    async with serve(handle, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/cake", requested


async def test_a_filter_chooses_the_events_of_both_clients_also_after_a_reconnection() -> None:
    wanted = EventFilter(
        labels=["kick", "a b"],
        metadata={"site": ["north"]},
        since=datetime(2026, 11, 29, tzinfo=UTC),
        min_score=0.5,
    )

    def follow(url: str) -> list[str]:
        with Client(url) as client:
            return [event.id for event in client.follow("s", wanted=wanted)]

    async with scripted_server(([start_json(1)], 1012), ([start_json(2)], 1000)) as (url, requested):
        assert await asyncio.to_thread(follow, url) == ["1000-0", "2000-0"]
    query = "label=kick&label=a+b&metadata.site=north&since=2026-11-29T00%3A00%3A00%2B00%3A00&min_score=0.5"
    assert requested == [f"/cake/v1/sessions/s/events?{query}", f"/cake/v1/sessions/s/events?{query}&after=1000-0"]


async def test_only_events_that_pass_the_filter_are_received_and_the_end_ends_following(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server, AsyncClient(server.url) as client:
        session = await server.running_session()
        starts = await server.worker.starts(session.id, [1.0, 2.0])
        wanted = EventFilter(types=["action.start"], labels=["kick"])
        page = await client.events(session.id, wanted=wanted, limit=1)
        assert [event.id for event in page.events] == [starts[0].id]
        entries = client.follow_all(after="0", wanted=wanted)
        assert [(await anext(entries)).event.id for _ in starts] == [start.id for start in starts]
        await entries.aclose()
        await server.worker.enter(session.id, "completed")
        assert [event.id async for event in client.follow(session.id, wanted=wanted)] == [each.id for each in starts]


@pytest.mark.slow
async def test_each_event_arrives_once_while_the_server_starts_stops_and_starts_again(tmp_path: Path) -> None:
    """The submission waits for the first start; the server then stops with 1012, as in an update."""
    data_dir, port = tmp_path / "data", free_port()
    three = asyncio.Event()
    got: list[Event] = []

    async def follow(client: AsyncClient, session_id: str) -> None:
        async for event in client.follow(session_id):
            got.append(event)
            if len(got) == 3:
                three.set()

    async with AsyncClient(f"http://127.0.0.1:{port}", retry_for_s=120) as client, registered(data_dir) as worker:
        submission = asyncio.create_task(client.submit_push(SessionOptions(name="late")))
        async with child_server(data_dir, port=port) as child:
            session = await submission
            following = asyncio.create_task(follow(client, session.id))
            await worker.claim()
            await worker.starts(session.id, [1.0, 2.0])
            await three.wait()
            child.process.send_signal(signal.SIGTERM)
            await child.process.wait()
        await worker.starts(session.id, [3.0, 4.0])
        async with child_server(data_dir, port=port):
            await worker.enter(session.id, "completed")
            await following
            assert [listed.name async for listed in client.sessions()] == ["late"]
        stored = await worker.store.log.read_events(session.id)
    assert [event.id for event in got] == [event.id for event in stored]
    assert len(got) == 6
    assert isinstance(got[-1], SessionState)
    assert got[-1].has_ended


@pytest.mark.parametrize("code", [1001, BROKEN_OFF, 1011, 1012, 1013])
async def test_a_closed_stream_is_resumed_after_the_last_event_and_nothing_is_repeated(code: int) -> None:
    first = ([start_json(1), start_json(10)], code)
    async with scripted_server(first, ([start_json(10), start_json(11)], 1000)) as (url, requested):
        interruptions: list[CakeError] = []
        async with AsyncClient(url) as client:
            got = [event.id async for event in client.follow("s", on_interruption=interruptions.append)]
    assert got == ["1000-0", "10000-0", "11000-0"]
    assert requested == ["/cake/v1/sessions/s/events", "/cake/v1/sessions/s/events?after=10000-0"]
    assert [error.code for error in interruptions] == ["unreachable"]


async def test_the_synchronous_client_resumes_all_sessions_after_the_cursor() -> None:
    def entry(number: int) -> str:
        return f'{{"cursor": "{number}", "event": {start_json(number)}}}'

    def follow(url: str) -> list[str]:
        with Client(url) as client:
            return [entry.cursor for entry in client.follow_all(after="8")]

    async with scripted_server(([entry(9), entry(10)], 1013), ([entry(11)], 1000)) as (url, requested):
        assert await asyncio.to_thread(follow, url) == ["9", "10", "11"]
    assert requested == ["/cake/v1/events?after=8", "/cake/v1/events?after=10"]


async def test_a_revoked_key_and_a_session_that_does_not_exist_end_following(tmp_path: Path) -> None:
    async with scripted_server(([], 1008)) as (url, _), AsyncClient(url) as client:
        with pytest.raises(CakeError, match="unauthorized"):
            [event async for event in client.follow("s")]
    async with running_server(tmp_path / "data") as server:
        with Client(server.url) as client_, pytest.raises(ApiError, match="not_found"):
            await asyncio.to_thread(next, client_.follow("none"))


async def test_unknown_fields_and_event_types_are_kept() -> None:
    known = start_json(1, region="gate", metadata={"site": "a"}, colour="red", latency_s=None)
    new = '{"type": "session.new", "id": "2000-0", "session_id": "s", "decided_s": 2, "time": "2026-11-29T09:00:00Z",'
    async with scripted_server(([known, f'{new} "field": "x"}}'], 1000)) as (url, _), AsyncClient(url) as client:
        start, unknown = [event async for event in client.follow("s")]
    assert isinstance(start, ActionStart)
    assert (start.region, start.metadata, start.unknown) == ("gate", {"site": "a"}, {"colour": "red"})
    assert (unknown.type, unknown.id, unknown.unknown) == ("session.new", "2000-0", {"field": "x"})
