"""Uploads: valid, malformed, too large, slow, aborted, and on a full disk."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from service.storage.disk import Disk
from service.storage.uploads import receive_upload
from tests.support.api_kit import VIDEO, problem, registered, stored_uploads, upload
from tests.support.running_server import MODEL, SECRET_URL, Running, child_server, running_server, until


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "data", max_upload_bytes=4_000_000) as running:
        yield running


async def test_an_upload_is_stored_completely_for_the_worker(server: Running) -> None:
    session = (await upload(server, pace="realtime", labels=["walk"])).json()
    assert session["source"] == {"kind": "upload", "stream": None, "filename": "clip.mp4"}
    assert (session["pace"], session["labels"]) == ("realtime", ["walk"])
    assert (server.settings.data_dir / "uploads" / session["id"]).read_bytes() == VIDEO


async def test_the_options_of_an_upload_may_come_first_or_be_absent(server: Running) -> None:
    first = await server.http.post(
        "/v1/sessions", files={"session": (None, '{"name": "first"}'), "file": ("../../etc/pass\nwd", VIDEO)}
    )
    assert (first.status_code, first.json()["name"]) == (202, "first")
    assert "/" not in first.json()["source"]["filename"]
    assert (await upload(server)).json()["labels"] == MODEL.labels


@pytest.mark.parametrize(
    "disposition",
    [
        b"filename*=UTF-8''na%C3%AFve.mp4",
        b"filename=\"naive.mp4\"; filename*=utf-8'en'na%C3%AFve.mp4",
        'filename="naïve.mp4"'.encode(),
    ],
)
async def test_file_names_may_be_of_any_script(server: Running, disposition: bytes) -> None:
    part = b"--b\r\nContent-Disposition: form-data; name=file; " + disposition + b"\r\n\r\nvideo\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await server.http.post("/v1/sessions", content=part, headers=headers)
    assert answer.json()["source"]["filename"] == "naïve.mp4", answer.text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "ends before"),
        (b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\nabc", "ends before"),
        (b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\n\r\n--b--\r\n", "empty"),
        (b"--b\r\nContent-Disposition: form-data; name=session\r\n\r\n{}\r\n--b--\r\n", "missing"),
        (b"--b\r\nContent-Disposition: form-data; name=other\r\n\r\n{}\r\n--b--\r\n", "other: unknown part"),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\n{}\r\n--b--\r\n", "file: a part has no name"),
        (b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\nx\r\n" * 2 + b"--b--\r\n", "repeated"),
        (b"nonsense", "not well-formed"),
    ],
)
async def test_a_malformed_upload_is_rejected_and_leaves_no_file(server: Running, body: bytes, message: str) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    refused = problem(await server.http.post("/v1/sessions", content=body, headers=headers), 422, "invalid_request")
    assert message in refused.detail
    assert stored_uploads(server) == []


@pytest.mark.parametrize("parameter", ["", "; boundary", "; boundary=", f"; boundary={'b' * 257}"])
async def test_an_upload_without_a_usable_boundary_is_rejected(server: Running, parameter: str) -> None:
    boundary = parameter.partition("=")[2]
    part = f'--{boundary}\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--{boundary}--\r\n'
    headers = {"Content-Type": f"multipart/form-data{parameter}"}
    refused = problem(await server.http.post("/v1/sessions", content=part, headers=headers), 422, "invalid_request")
    assert "boundary" in refused.detail


async def test_invalid_options_of_an_upload_leave_no_file(server: Running) -> None:
    refused = problem(await upload(server, pace="slow"), 422, "invalid_request")
    assert refused.errors is not None
    assert refused.errors[0].field == "pace"
    problem(
        await server.http.post("/v1/sessions", files={"file": b"x", "session": (None, "{")}), 422, "invalid_request"
    )
    assert stored_uploads(server) == []


async def test_an_upload_with_an_excessive_content_length_is_rejected_before_it_is_sent(server: Running) -> None:
    reader, writer = await asyncio.open_connection(*server.url.removeprefix("http://").split(":"))
    writer.write(
        b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: 99000000\r\n\r\n--b\r\n"
    )
    assert (await reader.readuntil(b"too_large")).startswith(b"HTTP/1.1 413")
    writer.transport.abort()


async def test_a_chunked_upload_over_the_limit_is_rejected_before_it_is_complete(server: Running) -> None:
    reader, writer = await asyncio.open_connection(*server.url.removeprefix("http://").split(":"))
    part = b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\n"
    writer.write(
        b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(part), part)
    )
    answer = asyncio.create_task(reader.readuntil(b"too_large"))
    while not answer.done():
        writer.write(b"20000\r\n" + bytes(0x20000) + b"\r\n")
        await writer.drain()
    assert (await answer).startswith(b"HTTP/1.1 413")
    assert stored_uploads(server) == []
    writer.transport.abort()


@pytest.mark.parametrize(
    ("kind", "part"),
    [("application/json", b'{"source": '), ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-da")],
)
async def test_a_client_that_stops_sending_is_disconnected(
    server: Running, kind: str, part: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.request_body.BODY_TIMEOUT_S", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(server.url).port)
    head = f"POST /v1/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: 1000\r\n\r\n"
    writer.write(head.encode() + part)
    answer = await reader.readuntil(b"request_timeout")
    assert answer.startswith(b"HTTP/1.1 408")
    assert stored_uploads(server) == []
    writer.close()
    await writer.wait_closed()


async def test_an_ordinary_client_receives_the_too_large_error(server: Running) -> None:
    problem(await upload(server, video=bytes(4_000_001)), 413, "too_large")
    problem(await upload(server, video=bytes(8_000_000)), 413, "too_large")
    long = {"source": {"url": "http://a/b"}, "name": "x" * 100_000}
    problem(await server.http.post("/v1/sessions", json=long), 413, "too_large")
    assert stored_uploads(server) == []


async def test_an_aborted_upload_leaves_no_file(server: Running) -> None:
    _, writer = await asyncio.open_connection(*server.url.removeprefix("http://").split(":"))
    writer.write(
        b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: 3000000\r\n\r\n--b\r\nContent-Disposition: form-data; name=file\r\n\r\n" + bytes(2_000_000)
    )
    await writer.drain()
    await until(lambda: stored_uploads(server) != [])
    writer.transport.abort()
    await until(lambda: stored_uploads(server) == [])
    assert (await server.http.get("/v1/sessions")).json()["sessions"] == []


@settings(max_examples=30, deadline=None)
@given(
    video=st.binary(min_size=1, max_size=300),
    cuts=st.lists(st.integers(0, 600), max_size=8),
    options=st.sampled_from([b"", b'{"pace": "fast"}']),
)
async def test_an_upload_is_parsed_equally_in_any_chunking(
    tmp_path_factory: pytest.TempPathFactory, video: bytes, cuts: list[int], options: bytes
) -> None:
    path = tmp_path_factory.mktemp("upload") / "video"
    parts = [(b'name="file"; filename="a"', video)] + ([(b'name="session"', options)] if options else [])
    head = b"--frontier\r\nContent-Disposition: form-data; "
    body = b"".join(head + name + b"\r\n\r\n" + value + b"\r\n" for name, value in parts) + b"--frontier--\r\n"

    async def chunks() -> AsyncIterator[bytes]:
        for begin, end in itertools.pairwise([0, *sorted(cuts), len(body)]):
            yield body[begin:end]

    received = await receive_upload(
        chunks(), "multipart/form-data; boundary=frontier", path, Disk(path.parent, 0), max_bytes=300
    )
    assert path.read_bytes() == video
    assert (received.options_json, received.filename) == (options, "a")


async def test_a_full_disk_is_reported_and_leaves_no_partial_file(tmp_path: Path) -> None:
    full = child_server(tmp_path / "data", max_file_bytes=3_000_000)
    async with (
        full as child,
        registered(tmp_path / "data"),
        httpx.AsyncClient(base_url=child.url, timeout=120) as client,
    ):
        refused = await client.post("/v1/sessions", files={"file": bytes(8_000_000)})
        problem(refused, 507, "storage_full")
        assert list((tmp_path / "data" / "uploads").iterdir()) == []
        assert (await client.post("/v1/sessions", files={"file": bytes(1_000_000)})).status_code == 202


@pytest.mark.slow
async def test_uploads_are_not_held_in_memory_and_no_secret_reaches_the_log(tmp_path: Path) -> None:
    async with child_server(tmp_path / "data") as child, registered(tmp_path / "data"):
        async with httpx.AsyncClient(base_url=child.url, timeout=120) as client:
            before_bytes = resident_bytes(child.process.pid)
            for _ in range(2):
                assert (await client.post("/v1/sessions", files={"file": bytes(30_000_000)})).status_code == 202
            assert resident_bytes(child.process.pid) - before_bytes < 20_000_000
            assert (await client.post("/v1/sessions", json={"source": {"url": SECRET_URL}})).status_code == 202
            await client.post("/v1/sessions", json={"source": {"url": SECRET_URL}, "model": "x"})
        # A request is logged after its response was sent.
        async with asyncio.timeout(60):
            await until(lambda: '"event": "request"' in child.log.read_text())
        log = child.log.read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    assert {"method", "path", "status", "duration_s", "request_id", "timestamp", "level"} <= set(requests[0])
    assert "hunter2" not in log
    assert b"hunter2" in b"".join(path.read_bytes() for path in (tmp_path / "data").glob("cake.db*"))


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
