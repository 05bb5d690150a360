"""Clients push videos into sessions, which analyse them as they arrive."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.support.api_kit import problem
from tests.support.commands import require_command
from tests.support.made_videos import remuxed, write_video
from tests.support.push_kit import Pushing, assert_rising, in_chunks, pushing, send, slowly, ws_url
from tests.support.session_kit import actions, decoders_of, expected_actions, states
from tests.support.tiny_model import load

CONTAINERS = {
    "mpegts": {},
    "matroska": {},
    "mp4": {"movflags": "frag_keyframe+empty_moov"},
}


@pytest.mark.parametrize("container", CONTAINERS)
async def test_a_pushed_video_yields_the_events_of_the_same_file(pushed: Pushing, video: Path, container: str) -> None:
    session = await pushed.submit()
    assert (session.source.kind, session.links.stream) == ("push", f"/v1/sessions/{session.id}/stream")
    file = remuxed(video, container, CONTAINERS[container])
    answer = await pushed.put(session, in_chunks(file.read_bytes()))
    assert answer.status_code == 202, answer.text
    record = await pushed.ends(session)
    assert record.state == "completed"
    assert record.position_s == pytest.approx(3.9, abs=0.1)
    events = await pushed.events(session)
    assert states(events) == ["queued", "starting", "running", "completed"]
    assert actions(events) == expected_actions(file, load(pushed.model))


@pytest.mark.slow
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
    require_command(command[0])
    session = await pushed.submit(pace="realtime")
    url = f"{pushed.server.url}{session.links.stream}"
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
    head = f"PUT {session.links.stream} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
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


async def test_an_interrupted_stream_continues_with_the_next_push(pushed: Pushing, stream: bytes) -> None:
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


@pytest.mark.slow
async def test_a_live_stream_may_change_its_codec(pushed: Pushing, stream: bytes, tmp_path: Path) -> None:
    options = {"preset": "ultrafast", "x265-params": "log-level=none"}
    other = write_video(tmp_path / "v.ts", codec="libx265", codec_options=options, count=300).read_bytes()
    session = await pushed.submit(pace="realtime")

    async def changing() -> AsyncIterator[bytes]:
        async for chunk in in_chunks(stream + other):
            yield chunk
            await asyncio.sleep(0.07)

    problem(await pushed.put(session, changing()), 503, "not_ready")
    await pushed.reaches(session, lambda record: record.state == "reconnecting")
    assert (await pushed.put(session, in_chunks(other))).status_code == 202
    record = await pushed.ends(session)
    assert record.state == "completed"
    assert record.video is not None
    assert record.video.codec == "hevc"
    await assert_rising(pushed, session)


async def test_a_session_continues_with_the_next_push_when_its_decoder_died(pushed: Pushing, stream: bytes) -> None:
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


@pytest.mark.slow
async def test_a_pushed_session_continues_with_another_worker(model: Path, tmp_path: Path, stream: bytes) -> None:
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


async def test_a_session_to_which_nothing_is_pushed_fails(pushed: Pushing) -> None:
    record = await pushed.ends(await pushed.submit(max_down_s=0.2))
    assert (record.state, record.code) == ("failed", "source_timeout")
    assert record.detail is not None
    assert "links.stream" in record.detail


async def test_a_stream_that_stays_away_fails_the_session(pushed: Pushing, stream: bytes) -> None:
    session = await pushed.submit(max_down_s=2)
    async with connect(ws_url(pushed, session)) as socket_:
        await send(socket_, stream[: len(stream) // 2])
        await pushed.reaches(session, lambda record: record.position_s > 0.5)
        await socket_.close(1001)
    record = await pushed.ends(session)
    assert (record.state, record.code) == ("failed", "source_timeout")
    assert states(await pushed.events(session))[-2:] == ["reconnecting", "failed"]


async def test_a_stream_that_is_not_a_video_fails_the_session_and_tells_the_client(
    pushed: Pushing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.push.COMMIT_TIMEOUT_S", 60.0)
    session = await pushed.submit()
    # Always the same bytes: once in many runs, random ones look like a video without frames, and are read to their end.
    noise = random.Random(1).randbytes(8_000_000)
    problem(await pushed.put(session, in_chunks(noise, chunk_bytes=64_000)), 409, "push_ended")
    record = await pushed.ends(session)
    assert (record.state, record.code) == ("failed", "source_unsupported")


async def test_a_stream_that_ends_before_its_first_frame_fails_the_session(pushed: Pushing, stream: bytes) -> None:
    for content in (b"", stream[:400]):
        session = await pushed.submit()
        assert (await pushed.put(session, content)).status_code == 202
        record = await pushed.ends(session)
        assert (record.state, record.code) in (("failed", "source_unsupported"), ("failed", "no_video_stream"))


@pytest.mark.slow
async def test_a_live_stream_that_arrives_in_one_burst_causes_a_warning(pushed: Pushing, tmp_path: Path) -> None:
    """As through a proxy that collects the body before it passes it on."""
    session = await pushed.submit(pace="realtime")
    burst = write_video(tmp_path / "v.ts", count=900).read_bytes()
    assert (await pushed.put(session, burst)).status_code == 202
    record = await pushed.ends(session)
    assert record.state == "completed"
    assert any("turn off request buffering" in warning for warning in record.warnings), (record.frames, record.warnings)
    fast = await pushed.submit()
    assert (await pushed.put(fast, burst)).status_code == 202
    assert not any("turn off" in warning for warning in (await pushed.ends(fast)).warnings)
