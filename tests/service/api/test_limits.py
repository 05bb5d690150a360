"""Limits for one client: incomplete uploads, streams, connections."""

import asyncio
import json
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from service.listening import RESERVED_FILES, max_connections, raise_open_file_limit
from service.schemas import Session
from service.storage.disk import Disk
from tests.support.access_kit import LIMITS, bearer, make_key
from tests.support.api_kit import problem, registered, stored_uploads
from tests.support.running_server import Running, child_server, running_server, until

HEAD = "POST /v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
PART = b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\n"
END = b"\r\n--b--\r\n"


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "data", max_upload_bytes=1_000_000, max_streams=3) as running:
        yield running


class Sending:
    """An upload that is sent piece by piece."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def chunk(self, data: bytes) -> None:
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self.writer.drain()

    async def response(self) -> tuple[int, str]:
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        return int(head.split()[1]), str(json.loads(await self.reader.readexactly(length)).get("code"))


Starter = Callable[..., Awaitable[Sending]]


@pytest_asyncio.fixture
async def sending(server: Running) -> AsyncIterator[Starter]:
    """Starts uploads with the given headers."""
    started: list[Sending] = []

    async def start(*headers: str, head: str = HEAD) -> Sending:
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(server.url).port)
        started.append(Sending(reader, writer))
        writer.write((head + "\r\n".join(headers) + "\r\n\r\n").encode())
        return started[-1]

    yield start
    for upload in started:
        upload.writer.transport.abort()


def authorization(key: str) -> str:
    return f"Authorization: {bearer(key)['Authorization']}"


# Reservations


async def test_uploads_in_progress_count_towards_the_storage_quota(server: Running, sending: Starter) -> None:
    key = await make_key(server, "sessions:write", limits=LIMITS.model_copy(update={"max_stored_bytes": 400_000}))
    first = await sending(authorization(key), "Content-Length: 300000")
    first.writer.write(PART)
    await until(lambda: stored_uploads(server) != [])
    second = await sending(authorization(key), "Content-Length: 300000")
    assert await second.response() == (429, "storage_limit")
    chunked = await sending(authorization(key), "Transfer-Encoding: chunked")
    await chunked.chunk(PART + bytes(200_000))
    assert await chunked.response() == (429, "storage_limit")
    first.writer.transport.abort()
    await until(lambda: stored_uploads(server) == [])
    third = await sending(authorization(key), "Content-Length: 300000")
    third.writer.write(PART + bytes(300_000 - len(PART) - len(END)) + END)
    assert (await third.response())[0] == 202


async def test_uploads_in_progress_count_towards_the_session_limit(server: Running, sending: Starter) -> None:
    key = await make_key(server, "sessions:write", limits=LIMITS.model_copy(update={"max_sessions": 1}))
    first = await sending(authorization(key), "Content-Length: 1000")
    first.writer.write(PART)
    await until(lambda: stored_uploads(server) != [])
    second = await sending(authorization(key), "Content-Length: 1000", "Expect: 100-continue")
    assert await second.response() == (429, "session_limit")
    first.writer.transport.abort()


async def test_a_retry_with_its_idempotency_key_needs_no_second_session(server: Running) -> None:
    key = await make_key(server, "sessions:write", limits=LIMITS.model_copy(update={"max_sessions": 1}))
    files = {"file": ("clip.mp4", b"video")}
    headers = {**bearer(key), "Idempotency-Key": "once"}
    first, again = [
        Session.model_validate((await server.http.post("/v1/sessions", files=files, headers=headers)).json())
        for _ in range(2)
    ]
    assert first.id == again.id


async def test_an_upload_that_the_workers_cannot_take_is_rejected_before_its_body(
    server: Running, sending: Starter
) -> None:
    server.worker.capacity_steps_per_s = 1
    await server.worker.register()
    refused = await sending("Content-Length: 900000", "Expect: 100-continue")
    assert await refused.response() == (503, "over_capacity")


async def test_uploads_in_progress_count_towards_the_capacity(server: Running, sending: Starter) -> None:
    server.worker.capacity_steps_per_s = 3
    await server.worker.register()
    first = await sending("Content-Length: 1000")
    first.writer.write(PART)
    await until(lambda: stored_uploads(server) != [])
    refused = await sending("Content-Length: 1000", "Expect: 100-continue")
    assert await refused.response() == (503, "over_capacity")
    first.writer.write(bytes(1000 - len(PART) - len(END)) + END)
    assert (await first.response())[0] == 202


async def test_uploads_in_progress_count_towards_the_free_disk_space(tmp_path: Path) -> None:
    size_bytes = Disk(tmp_path, 0).free_bytes() * 6 // 10
    async with running_server(tmp_path / "data", min_free_bytes=0, max_upload_bytes=2**60) as server:
        answers = []
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(server.url).port)
            answers.append(Sending(reader, writer))
            writer.write(f"{HEAD}Content-Length: {size_bytes}\r\nExpect: 100-continue\r\n\r\n".encode())
            if len(answers) == 1:
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        assert await answers[1].response() == (507, "storage_full")
        for sending in answers:
            sending.writer.transport.abort()


async def test_an_accepted_upload_is_asked_to_continue(server: Running, sending: Starter) -> None:
    accepted = await sending("Transfer-Encoding: chunked", "Expect: 100-continue")
    assert await accepted.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await accepted.chunk(PART + b"video" + END)
    await accepted.chunk(b"")
    assert (await accepted.response())[0] == 202


async def test_an_upload_whose_key_is_revoked_during_it_is_rejected(server: Running, sending: Starter) -> None:
    key = await make_key(server, "sessions:write", name="stolen")
    started = await sending(authorization(key), "Transfer-Encoding: chunked")
    await started.chunk(PART + b"video")
    await until(lambda: stored_uploads(server) != [])
    await server.http.get("/livez")
    [record] = [record for record in await server.worker.store.keys.all() if record.name == "stolen"]
    await server.worker.store.keys.revoke(record.id, now=record.created_at)
    await started.chunk(END)
    await started.chunk(b"")
    assert await started.response() == (401, "unauthorized")
    await until(lambda: stored_uploads(server) == [])


@pytest.mark.parametrize(
    ("operation", "media_type", "body"),
    [
        ("POST /v1/sessions", "application/json", b'{"source": {"push": true}}'),
        ("PUT /v1/models/yard", "application/gzip", b"no archive"),
    ],
)
async def test_nothing_is_made_with_a_key_that_is_revoked_while_the_body_is_sent(
    server: Running, sending: Starter, operation: str, media_type: str, body: bytes
) -> None:
    key = await make_key(server, "admin", name="stolen")
    head = f"{operation} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\nExpect: 100-continue\r\n"
    started = await sending(authorization(key), "Transfer-Encoding: chunked", head=head)
    # The server asks for the body once it has admitted the request.
    assert b" 100 " in await started.reader.readuntil(b"\r\n\r\n")
    [record] = [record for record in await server.worker.store.keys.all() if record.name == "stolen"]
    await server.worker.store.keys.revoke(record.id, now=record.created_at)
    await started.chunk(body)
    await started.chunk(b"")
    assert await started.response() == (401, "unauthorized")


async def test_a_rejection_after_the_body_keeps_the_connection(server: Running) -> None:
    key = await make_key(server, "sessions:write", limits=LIMITS.model_copy(update={"max_sessions": 0}))
    for _ in range(2):
        refused = await server.http.post("/v1/sessions", json={"source": {"push": True}}, headers=bearer(key))
        problem(refused, 429, "session_limit")
        assert "connection" not in refused.headers


# Bodies


@pytest.mark.parametrize("before", [True, False], ids=["preamble", "epilogue"])
async def test_preamble_and_epilogue_of_an_upload_are_bounded(sending: Starter, before: bool) -> None:
    small = await sending("Transfer-Encoding: chunked")
    noise = b"ignored by MIME readers\r\n"
    await small.chunk(noise + PART + b"video" + END + noise)
    await small.chunk(b"")
    assert (await small.response())[0] == 202
    large = await sending("Transfer-Encoding: chunked")
    if not before:
        await large.chunk(PART + b"video" + END)
    answer = asyncio.create_task(large.response())
    while not answer.done():
        await large.chunk(bytes(50_000))
    assert (await answer)[0] == (422 if before else 413)


# Streams and connections


async def test_a_client_cannot_open_more_streams_than_its_limit(server: Running) -> None:
    session = await server.running_session()
    events = f"{server.ws_url}{session.links.events}"
    async with AsyncExitStack() as stack:
        sockets: list[ClientConnection] = [await stack.enter_async_context(connect(events)) for _ in range(2)]
        sse = server.http.stream("GET", session.links.events, headers={"Accept": "text/event-stream"})
        lines = (await stack.enter_async_context(sse)).aiter_lines()
        while not (await anext(lines)).startswith("data:"):
            pass
        with pytest.raises(InvalidStatus) as raised:
            await connect(events)
        assert raised.value.response.status_code == 429
        for headers, query in (({"Accept": "text/event-stream"}, ""), ({}, "?after=99999999-0&wait_s=5")):
            refused = await server.http.get(session.links.events + query, headers=headers)
            problem(refused, 429, "stream_limit")
            assert int(refused.headers["retry-after"]) > 0
        assert (await server.http.get(session.links.events)).status_code == 200
        await sockets.pop().close()
        async with asyncio.timeout(60):
            while True:
                try:
                    await stack.enter_async_context(connect(events))
                    break
                except InvalidStatus:
                    continue


async def test_responses_state_the_remaining_rate_limit(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    # Bursts of four requests, of which none is regained while the test runs.
    monkeypatch.setattr("service.access.rate.BURST_S", 4e6)
    key = await make_key(server, "sessions:read", limits=LIMITS.model_copy(update={"requests_per_s": 1e-6}))
    responses = [await server.http.get("/v1/sessions", headers=bearer(key)) for _ in range(5)]
    assert [response.headers["ratelimit-limit"] for response in responses] == ["4"] * 5
    remaining = [int(response.headers["ratelimit-remaining"]) for response in responses]
    assert remaining == [3, 2, 1, 0, 0]
    resets_s = [int(response.headers["ratelimit-reset"]) for response in responses]
    assert resets_s == pytest.approx([1e6, 2e6, 3e6, 4e6, 4e6], abs=1000)
    assert "ratelimit-limit" not in (await server.http.get("/livez")).headers


FEW_FILES = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))"


async def test_health_checks_are_answered_when_connections_run_out(tmp_path: Path) -> None:
    limited = child_server(tmp_path / "data", environ={"CAKE_MAX_STREAMS": "1000"}, prelude=FEW_FILES)
    async with limited as child, registered(tmp_path / "data"):
        async with httpx.AsyncClient(base_url=child.url, timeout=120) as http, AsyncExitStack() as stack:
            url = f"{child.url.replace('http', 'ws', 1)}/v1/events"
            statuses: list[int] = []
            # More than the soft limit of 100: the server has raised it to the hard one of 300, of which it keeps 128.
            for _ in range(200):
                try:
                    await stack.enter_async_context(connect(url))
                except InvalidStatus as error:
                    statuses.append(error.response.status_code)
            rejected = len(statuses)
            assert set(statuses) == {503}
            assert 20 <= rejected <= 80
            assert (await http.get("/livez")).status_code == 200
            problem(await http.get("/v1/sessions"), 503, "over_capacity")
            assert "cake_rejected_connections_total" in (await http.get("/metrics")).text
        assert "too many connections" in child.log.read_text()
        async with httpx.AsyncClient(base_url=child.url, timeout=120) as http:
            while (await http.get("/v1/sessions")).status_code != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


def test_the_limit_of_open_files_is_raised_to_the_hard_limit() -> None:
    limit = raise_open_file_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (limit, limit)
    assert max_connections() == limit - RESERVED_FILES
