"""Who may push a stream and when, and how a push ends."""

import asyncio
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support.access_kit import bearer, make_key
from tests.support.api_kit import problem
from tests.support.push_kit import Pushing, pushing, send, slowly, ws_url


async def test_delete_stops_waiting_and_active_push_sessions(
    pushed: Pushing, stream: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.push.COMMIT_TIMEOUT_S", 60.0)
    waiting, running = await pushed.submit(), await pushed.submit()
    both = asyncio.Event()
    sending = asyncio.create_task(pushed.put(running, slowly(stream, both)))
    await pushed.reaches(running, lambda record: record.position_s > 0.5)
    await pushed.reaches(waiting, lambda record: record.state == "starting")
    for session in (waiting, running):
        assert (await pushed.server.http.delete(session.links.self)).status_code == 202
        assert (await pushed.ends(session)).state == "stopped"
    both.set()
    problem(await sending, 409, "push_ended")
    problem(await pushed.put(waiting, stream), 409, "push_ended")


async def test_a_session_accepts_one_stream_at_a_time(
    pushed: Pushing, stream: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, tried = await pushed.submit(), asyncio.Event()
    first = asyncio.create_task(pushed.put(session, slowly(stream, tried)))
    await pushed.reaches(session, lambda record: record.position_s > 0.5)
    monkeypatch.setattr("service.api.push.CONNECT_TIMEOUT_S", 0.2)
    problem(await pushed.put(session, stream), 409, "push_conflict")
    tried.set()
    assert (await first).status_code == 202
    assert (await pushed.ends(session)).frames == 40


async def test_a_push_without_a_free_worker_gets_retry_after(
    model: Path, tmp_path: Path, stream: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pushing(tmp_path, model) as pushed:
        monkeypatch.setattr("service.api.push.CONNECT_TIMEOUT_S", 0.2)
        async with pushed.worker():
            session = await pushed.submit(max_down_s=60)
            await pushed.reaches(session, lambda record: record.state == "starting")
        answer = await pushed.put(session, stream)
    problem(answer, 503, "not_ready")
    assert answer.headers["retry-after"] == "2"


async def test_only_the_owner_of_a_push_session_can_push_to_it(pushed: Pushing, stream: bytes) -> None:
    http = pushed.server.http
    other = await pushed.server.submit(model="tiny")
    problem(await http.put(f"{other.links.self}/stream", content=stream), 409, "not_a_push")
    owner, reader, stranger = [
        bearer(await make_key(pushed.server, *scopes))
        for scopes in (["sessions:write", "events:read"], ["sessions:read"], ["sessions:write"])
    ]
    answer = await http.post("/v1/sessions", json={"source": {"push": True}}, headers=owner)
    path = answer.json()["links"]["stream"]
    problem(await http.put(path, content=stream), 401, "unauthorized")
    problem(await http.put(path, content=stream, headers=reader), 403, "missing_scope")
    problem(await http.put(path, content=stream, headers=stranger), 404, "not_found")
    ticket = (await http.post("/v1/tickets", headers=owner)).json()["ticket"]
    async with connect(f"{pushed.server.ws_url}{path}?ticket={ticket}") as socket_:
        await send(socket_, stream)


async def test_a_websocket_pushes_a_video_that_ends_with_its_close(pushed: Pushing, stream: bytes) -> None:
    session = await pushed.submit()
    async with connect(ws_url(pushed, session)) as socket_:
        await send(socket_, stream)
    record = await pushed.ends(session)
    assert record.state == "completed"
    assert record.frames >= 1


async def test_the_close_code_of_a_push_websocket_says_why(
    pushed: Pushing, stream: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.push.COMMIT_TIMEOUT_S", 60.0)
    session = await pushed.submit()
    async with connect(ws_url(pushed, session)) as socket_:
        await socket_.send("a text")
        with pytest.raises(ConnectionClosed) as closed:
            await socket_.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1003
    async with connect(ws_url(pushed, session)) as socket_:
        await send(socket_, stream[: len(stream) // 2])
        await pushed.reaches(session, lambda record: record.position_s > 0.5)
        await pushed.server.http.delete(session.links.self)
        with pytest.raises(ConnectionClosed) as closed:
            await socket_.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, "stopped" in closed.value.rcvd.reason) == (1000, True)
