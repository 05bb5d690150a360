"""Clients push videos into sessions; they are analysed as they arrive, whatever happens on the way."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from access_kit import bearer, make_key
from api_kit import problem
from made_videos import remuxed
from push_kit import Pushing, in_chunks, pushing
from session_kit import actions, decoders_of, expected_actions, states, write_lively_video
from tiny_model import checkpoint_for
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from model.detector import Detector
from service.schemas import Session, event_key


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lively_video(tmp_path_factory.mktemp("video") / "v.mp4", count=120)


@pytest.fixture(scope="module")
def model(video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint_for(video, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def stream(video: Path) -> bytes:
    return remuxed(video, "mpegts").read_bytes()


@pytest.fixture
async def pushed(model: Path, tmp_path: Path) -> AsyncIterator[Pushing]:
    async with pushing(tmp_path, model) as service, service.worker():
        yield service
    assert decoders_of(os.getpid()) == []


def ws_url(pushed: Pushing, session: Session) -> str:
    return f"{pushed.server.ws_url}{session.links.ingest}"


async def assert_rising(pushed: Pushing, session: Session) -> None:
    keys = [event_key(event.id) for event in await pushed.events(session)]
    assert keys == sorted(set(keys))


CONTAINERS = {
    "mpegts": {},
    "matroska": {},
    "mp4": {"movflags": "frag_keyframe+empty_moov"},
}


@pytest.mark.parametrize("container", CONTAINERS)
async def test_a_pushed_video_tells_what_the_same_file_tells(pushed: Pushing, video: Path, container: str) -> None:
    session = await pushed.submit()
    assert (session.source.kind, session.links.ingest) == ("push", f"/v1/sessions/{session.id}/stream")
    file = remuxed(video, container, CONTAINERS[container])
    answer = await pushed.put(session, in_chunks(file.read_bytes()))
    assert answer.status_code == 202, answer.text
    record = await pushed.ends(session)
    assert record.state == "completed"
    assert record.position_s == pytest.approx(3.9, abs=0.1)
    events = await pushed.events(session)
    assert states(events) == ["queued", "starting", "running", "completed"]
    assert actions(events) == expected_actions(file, Detector.load(pushed.model))


@pytest.mark.parametrize(
    "command",
    [
        ["ffmpeg", "-loglevel", "error", "-re", "-i", "{video}", "-c", "copy", "-f", "mpegts", "{url}"],
        [
            "ffmpeg",
            "-loglevel",
            "error",
            "-i",
            "{video}",
            "-c:v",
            "libvpx",
            "-f",
            "webm",
            "-method",
            "PUT",
            "{url}",
        ],
    ],
)
async def test_ffmpeg_pushes_a_video(pushed: Pushing, video: Path, command: list[str]) -> None:
    session = await pushed.submit(pace="realtime")
    url = f"{pushed.server.url}{session.links.ingest}"
    sender = await asyncio.create_subprocess_exec(*(part.format(video=video, url=url) for part in command))
    record = await pushed.ends(session)
    assert await sender.wait() == 0
    assert (record.state, record.code) == ("completed", None)
    assert record.video is not None
    assert record.video.live


async def test_a_client_may_hang_up_as_soon_as_it_has_said_everything(pushed: Pushing, stream: bytes) -> None:
    """As FFmpeg does, and before a worker has the session."""
    session = await pushed.submit()
    _, writer = await asyncio.open_connection("127.0.0.1", int(pushed.server.url.rpartition(":")[2]))
    head = f"PUT {session.links.ingest} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode() + f"{len(stream):x}\r\n".encode() + stream + b"\r\n0\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    record = await pushed.ends(session)
    assert (record.state, record.frames) == ("completed", 40)


async def test_the_video_is_analysed_while_it_arrives(pushed: Pushing, stream: bytes) -> None:
    session = await pushed.submit()
    half = len(stream) // 2

    async def halting() -> AsyncIterator[bytes]:
        yield stream[:half]
        await pushed.reaches(session, lambda record: record.state == "running" and record.position_s > 0.5)
        yield stream[half:]

    assert (await pushed.put(session, halting())).status_code == 202
    assert (await pushed.ends(session)).frames == 40


async def test_a_stream_that_broke_off_goes_on_with_the_next(pushed: Pushing, stream: bytes) -> None:
    session = await pushed.submit()

    async def broken() -> AsyncIterator[bytes]:
        yield stream[: len(stream) // 2]
        await pushed.reaches(session, lambda record: record.position_s > 0.5)
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await pushed.put(session, broken())
    lost = await pushed.reaches(session, lambda record: record.state == "reconnecting")
    assert (await pushed.put(session, in_chunks(stream))).status_code == 202
    record = await pushed.ends(session)
    events = await pushed.events(session)
    assert states(events) == ["queued", "starting", "running", "reconnecting", "running", "completed"]
    [gap] = [event for event in events if event.type == "session.gap"]
    assert gap.gap_s == pytest.approx(gap.decided_s - lost.position_s, abs=0.01)
    assert record.frames == lost.frames + 40
    await assert_rising(pushed, session)


async def test_a_stream_goes_on_when_its_decoder_was_killed(pushed: Pushing, stream: bytes) -> None:
    session = await pushed.submit()

    async def killing() -> AsyncIterator[bytes]:
        yield stream[: len(stream) // 2]
        await pushed.reaches(session, lambda record: record.position_s > 0.5)
        [pid] = decoders_of(os.getpid())
        os.kill(pid, signal.SIGKILL)
        await pushed.reaches(session, lambda record: record.state == "reconnecting")
        yield stream[len(stream) // 2 :]

    answer = await pushed.put(session, killing())
    problem(answer, 503, "not_ready")
    assert answer.headers["retry-after"] == "1"
    assert (await pushed.put(session, in_chunks(stream))).status_code == 202
    assert (await pushed.ends(session)).state == "completed"
    await assert_rising(pushed, session)


async def test_a_session_goes_on_with_another_worker(model: Path, tmp_path: Path, stream: bytes) -> None:
    async with pushing(tmp_path, model) as pushed:
        gone = asyncio.Event()
        async with pushed.worker("first"):
            session = await pushed.submit()
            first = asyncio.create_task(pushed.put(session, slowly(stream, gone)))
            await pushed.reaches(session, lambda record: record.position_s > 0.5)
        gone.set()
        problem(await first, 503, "not_ready")
        async with pushed.worker("second"):
            assert (await pushed.put(session, in_chunks(stream))).status_code == 202
            assert (await pushed.ends(session)).state == "completed"
        assert "session.gap" in {event.type for event in await pushed.events(session)}
        await assert_rising(pushed, session)


async def slowly(stream: bytes, go_on: asyncio.Event) -> AsyncIterator[bytes]:
    """The first half, and the rest when it is told."""
    yield stream[: len(stream) // 2]
    await go_on.wait()
    yield stream[len(stream) // 2 :]


async def test_a_session_to_which_nothing_is_pushed_fails(pushed: Pushing) -> None:
    record = await pushed.ends(await pushed.submit(max_down_s=0.2))
    assert (record.state, record.code) == ("failed", "source_timeout")
    assert record.detail is not None
    assert "links.ingest" in record.detail


async def test_a_stream_that_stays_away_fails_the_session(pushed: Pushing, stream: bytes) -> None:
    session = await pushed.submit(max_down_s=2)
    async with connect(ws_url(pushed, session)) as socket_:
        await send(socket_, stream[: len(stream) // 2])
        await pushed.reaches(session, lambda record: record.position_s > 0.5)
        await socket_.close(1001)
    record = await pushed.ends(session)
    assert (record.state, record.code) == ("failed", "source_timeout")
    assert states(await pushed.events(session))[-2:] == ["reconnecting", "failed"]


async def test_what_is_no_video_fails_the_session_and_says_so_to_the_client(pushed: Pushing) -> None:
    session = await pushed.submit()
    problem(await pushed.put(session, in_chunks(os.urandom(8_000_000), chunk_bytes=64_000)), 409, "push_ended")
    record = await pushed.ends(session)
    assert (record.state, record.code) == ("failed", "source_unsupported")


async def test_a_stream_that_ends_before_its_first_picture_fails_the_session(pushed: Pushing, stream: bytes) -> None:
    for content in (b"", stream[:400]):
        session = await pushed.submit()
        assert (await pushed.put(session, content)).status_code == 202
        record = await pushed.ends(session)
        assert (record.state, record.code) in (("failed", "source_unsupported"), ("failed", "no_video_stream"))


async def test_delete_stops_a_session_that_waits_and_one_that_is_being_pushed_to(
    pushed: Pushing, stream: bytes
) -> None:
    waiting, running = await pushed.submit(), await pushed.submit()
    both = asyncio.Event()
    sending = asyncio.create_task(pushed.put(running, slowly(stream, both)))
    await pushed.reaches(running, lambda record: record.position_s > 0.5)
    await pushed.reaches(waiting, lambda record: record.state == "starting")
    for session in (waiting, running):
        asked_s = time.monotonic()
        assert (await pushed.server.http.delete(session.links.self)).status_code == 202
        assert (await pushed.ends(session)).state == "stopped"
        assert time.monotonic() - asked_s < 2
    both.set()
    problem(await sending, 409, "push_ended")
    problem(await pushed.put(waiting, stream), 409, "push_ended")


async def test_a_session_takes_one_stream_at_a_time(
    pushed: Pushing, stream: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.push.REACH_WITHIN_S", 0.2)
    session, tried = await pushed.submit(), asyncio.Event()
    first = asyncio.create_task(pushed.put(session, slowly(stream, tried)))
    await pushed.reaches(session, lambda record: record.position_s > 0.5)
    problem(await pushed.put(session, stream), 409, "push_conflict")
    tried.set()
    assert (await first).status_code == 202
    assert (await pushed.ends(session)).frames == 40


async def test_without_a_free_worker_the_client_is_told_when_to_ask_again(
    model: Path, tmp_path: Path, stream: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.push.REACH_WITHIN_S", 0.2)
    async with pushing(tmp_path, model) as pushed:
        async with pushed.worker():
            session = await pushed.submit(max_down_s=60)
            await pushed.reaches(session, lambda record: record.state == "starting")
        answer = await pushed.put(session, stream)
    problem(answer, 503, "not_ready")
    assert answer.headers["retry-after"] == "2"


async def test_only_the_owner_of_a_push_session_may_push_to_it(pushed: Pushing, stream: bytes) -> None:
    http = pushed.server.http
    other = await pushed.server.submit(model="tiny")
    problem(await http.put(f"{other.links.self}/stream", content=stream), 409, "not_a_push")
    owner, reader, stranger = [
        bearer(await make_key(pushed.server, *scopes))
        for scopes in (["sessions:write", "events:read"], ["sessions:read"], ["sessions:write"])
    ]
    answer = await http.post("/v1/sessions", json={"source": {"push": True}}, headers=owner)
    path = answer.json()["links"]["ingest"]
    problem(await http.put(path, content=stream), 401, "unauthorized")
    problem(await http.put(path, content=stream, headers=reader), 403, "missing_scope")
    problem(await http.put(path, content=stream, headers=stranger), 404, "not_found")
    ticket = (await http.post("/v1/tickets", headers=owner)).json()["ticket"]
    async with connect(f"{pushed.server.ws_url}{path}?ticket={ticket}") as socket_:
        await send(socket_, stream)


async def send(socket_: ClientConnection, stream: bytes) -> None:
    async for chunk in in_chunks(stream):
        await socket_.send(chunk)


async def test_a_websocket_pushes_a_video_and_its_goodbye_ends_it(pushed: Pushing, stream: bytes) -> None:
    session = await pushed.submit(pace="realtime")
    async with connect(ws_url(pushed, session)) as socket_:
        await send(socket_, stream)
    record = await pushed.ends(session)
    assert record.state == "completed"
    assert record.frames >= 1


async def test_a_websocket_is_told_why_it_is_closed(pushed: Pushing, stream: bytes) -> None:
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
