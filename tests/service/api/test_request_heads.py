"""The head of a request is bounded in time and in size, without affecting complete requests."""

import asyncio
import itertools
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.running_server import Running, connection, running_server

HEAD = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.mark.parametrize("begun", [b"", b"G", HEAD, HEAD + b"\r\n" + HEAD])
async def test_a_connection_without_a_complete_head_is_closed(
    server: Running, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.http_protocol.HEAD_WITHIN_S", 0.2)
    async with connection(server) as (reader, writer):
        writer.write(begun)
        answers = await reader.read()
    assert answers.startswith(b"HTTP/1.1 200" if begun.endswith(b"\r\n" + HEAD) else b"HTTP/1.1 408")
    assert answers.count(b"HTTP/1.1 408") == 1


@pytest.mark.parametrize("piece", [b"X: y\r\n", b"X" * 1000])
async def test_an_endless_head_is_rejected(server: Running, piece: bytes) -> None:
    async with connection(server) as (reader, writer):
        writer.write(HEAD)
        answer = asyncio.create_task(reader.readuntil(b"\r\n"))
        for sent_bytes in itertools.count(len(HEAD), len(piece)):
            if answer.done():
                break
            writer.write(piece)
            # The server may have closed the connection by now.
            await asyncio.sleep(0)
            assert sent_bytes < 10_000_000
        assert (await answer).startswith(b"HTTP/1.1 431")


async def test_the_rest_of_a_body_after_an_early_response_is_not_parsed_as_a_head(server: Running) -> None:
    body = b"x" * 1_000_000
    head = b"PUT /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with connection(server) as (reader, writer):
        writer.write(head)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 405")
        writer.write(body + HEAD + b"\r\n")
        await reader.readuntil(b"HTTP/1.1 200")


async def test_a_body_that_continues_after_the_response_is_cut_off(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.http_protocol.REST_WITHIN_S", 0.2)
    async with connection(server) as (reader, writer):
        writer.write(b"PUT /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 405")
        closed = asyncio.create_task(reader.read())
        for _ in range(1000):
            writer.write(b"1\r\nx\r\n")
            if (await asyncio.wait([closed], timeout=0.01))[0]:
                break
        assert closed.done()


async def test_the_head_timeout_does_not_apply_to_running_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.http_protocol.HEAD_WITHIN_S", 0.1)
    # The connection is closed this long after the last answer.
    async with running_server(tmp_path / "data", keep_alive_s=0.1) as server:
        session = await server.running_session()
        wait = f"GET {session.links.events}?after=999-0&wait_s=0.5 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        async with connection(server) as (reader, writer):
            # Also one that is sent before the answer to the first.
            writer.write(wait * 2)
            answers = await reader.read()
    assert answers.count(b"HTTP/1.1 200") == 2


async def test_beyond_the_limit_of_connections_a_new_one_can_send_its_request(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Health checks must be answered while many clients connect at the same time."""
    monkeypatch.setattr("service.api.http_protocol.FIRST_HEAD_WITHIN_S", 60.0)
    monkeypatch.setattr("service.api.http_protocol.max_connections", lambda: 1)
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(connection(server)) for _ in range(5)]
        # The server has made all of them once it answers the last.
        for reader, writer in reversed(connections):
            writer.write(HEAD + b"Connection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sent", [b"", HEAD + b"\r\n"])
async def test_beyond_the_limit_of_connections_idle_ones_are_closed(
    server: Running, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.http_protocol.FIRST_HEAD_WITHIN_S", 0.0 if not sent else 60.0)
    monkeypatch.setattr("service.api.http_protocol.max_connections", lambda: 1)
    async with connection(server) as (idle, writer):
        writer.write(sent)
        if sent:
            await idle.readuntil(b"}")
        async with connection(server) as (reader, other):
            other.write(HEAD + b"Connection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            assert await idle.read() == b""
