"""Pushed streams reach the worker from its own servers only, whole and in order, or are interrupted."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.video.errors import VideoError
from service.decoder.pushed_video import PushedVideo
from service.push.forward import NotWaitingError, Push, WorkerClosedError, open_push
from service.push.gate import PushGate, open_gate
from service.push.protocol import PushAddress


async def push_to(gate: PushGate, session_id: str = "s") -> Push:
    async def find_worker() -> PushAddress:
        return gate.address

    return await open_push(session_id, find_worker, 60.0)


async def chunks_of(parts: list[bytes], error: Exception | None = None) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    if error is not None:
        raise error


def read_all(connection: socket.socket, sizes: list[int]) -> bytes:
    """The bytes that a decoder gets when it repeatedly reads this many. Closes the connection."""
    with connection:
        video, data = PushedVideo(connection, timeout_s=60.0), b""
        while part := video.read(sizes[len(data) % len(sizes)]):
            data += part
        assert video.read(1) == b""
        return data


@given(parts=st.lists(st.binary(max_size=3000)), sizes=st.lists(st.integers(1, 4096), min_size=1, max_size=5))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_pushed_stream_arrives_whole_for_any_chunk_sizes(parts: list[bytes], sizes: list[int]) -> None:
    async def pushed_and_read() -> bytes:
        async with open_gate() as gate:
            waiting = asyncio.create_task(gate.next("s", 60))
            push = await push_to(gate)
            reading = asyncio.create_task(asyncio.to_thread(read_all, await waiting, sizes))
            await push.send_all(chunks_of(parts))
            await push.aclose()
            return await reading

    assert asyncio.run(pushed_and_read()) == b"".join(parts)


async def test_a_push_without_an_end_mark_is_interrupted() -> None:
    async with open_gate() as gate:
        waiting = asyncio.create_task(gate.next("s", 60))
        push = await push_to(gate)
        with pytest.raises(ConnectionAbortedError):
            await push.send_all(chunks_of([b"video"], ConnectionAbortedError()))
        await push.aclose()
        with pytest.raises(VideoError) as broken:
            await asyncio.to_thread(read_all, await waiting, [100])
        assert broken.value.code == "source_unreachable"


async def test_a_push_notices_that_its_worker_has_closed_the_connection() -> None:
    async def silent() -> AsyncIterator[bytes]:
        yield b"video"
        await asyncio.sleep(3600)

    async with open_gate() as gate:
        waiting = asyncio.create_task(gate.next("s", 60))
        push = await push_to(gate)
        (await waiting).close()
        async with asyncio.timeout(60):
            with pytest.raises(WorkerClosedError):
                await push.send_all(silent())
        await push.aclose()


async def test_a_push_whose_connection_is_closed_has_lost_its_worker() -> None:
    async with open_gate() as gate:
        waiting = asyncio.create_task(gate.next("s", 60))
        push = await push_to(gate)
        (await waiting).close()
        await push.aclose()
        with pytest.raises(WorkerClosedError):
            await push.send_all(chunks_of([b"video"]))


async def test_a_session_that_gives_up_or_times_out_gets_no_stream() -> None:
    async with open_gate() as gate:
        waiting = asyncio.create_task(gate.next("s", 60))
        await asyncio.sleep(0)
        gate.give_up("s")
        for ended in (waiting, gate.next("s", 0.01)):
            with pytest.raises(VideoError) as given_up:
                await ended
            assert given_up.value.code == "source_timeout"


async def test_the_gate_rejects_connections_without_its_key() -> None:
    async def guess() -> PushAddress:
        return PushAddress("127.0.0.1", gate.address.port, "guessed")

    async with open_gate() as gate:
        waiting = asyncio.create_task(gate.next("s", 60))
        with pytest.raises(NotWaitingError):
            await open_push("s", guess, 0.0)
        for said in (b"", b"nonsense\n", b'["s"]\n', b"[" * 600):
            with socket.create_connection((gate.address.host, gate.address.port)) as stranger:
                stranger.sendall(said)
                stranger.shutdown(socket.SHUT_WR)
                assert await asyncio.to_thread(stranger.recv, 1) == b""
        assert not waiting.done()
        waiting.cancel()
