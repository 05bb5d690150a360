"""Submit a video: by URL and as an upload, with everything that can be wrong with either."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from api_kit import VIDEO, problem, registered, stored_uploads, upload
from hypothesis import given, settings
from hypothesis import strategies as st
from running_server import MODEL, SECRET_URL, Running, child_server, running_server, until

from model.container import LIVE_SCHEMES
from service.sources import CAMERA_SCHEMES
from service.uploads import receive_upload


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "data", max_upload_bytes=4_000_000) as running:
        yield running


async def test_a_url_becomes_a_queued_session_without_its_secrets(server: Running) -> None:
    response = await server.http.post(
        "/v1/sessions", json={"source": {"url": SECRET_URL}, "labels": ["jump", "jump"], "name": "yard"}
    )
    session = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == session["links"]["self"] == f"/v1/sessions/{session['id']}"
    assert (session["state"], session["labels"], session["name"]) == ("queued", ["jump"], "yard")
    assert session["source"] == {
        "kind": "url",
        "url": "http://example.org/clip.mp4?…",
        "transport": "tcp",
        "max_down_s": None,
    }
    assert (await server.http.get(response.headers["location"])).json() == session
    assert (await server.worker.claim()).source.model_dump()["url"] == SECRET_URL


async def test_an_upload_is_stored_whole_for_the_worker(server: Running) -> None:
    session = (await upload(server, pace="realtime", labels=["walk"])).json()
    assert session["source"] == {"kind": "upload", "filename": "clip.mp4"}
    assert (session["pace"], session["labels"]) == ("realtime", ["walk"])
    assert (server.settings.uploads_dir / session["id"]).read_bytes() == VIDEO


async def test_the_options_of_an_upload_may_come_first_or_not_at_all(server: Running) -> None:
    first = await server.http.post(
        "/v1/sessions", files={"session": (None, '{"name": "first"}'), "file": ("../../etc/pass\nwd", VIDEO)}
    )
    assert (first.status_code, first.json()["name"]) == (202, "first")
    assert "/" not in first.json()["source"]["filename"]
    assert (await upload(server)).json()["labels"] == MODEL.labels


@pytest.mark.parametrize(
    ("url", "pace"),
    [("rtsp://8.8.8.8/v", "realtime"), ("SRT://8.8.8.8:9000", "realtime"), ("https://8.8.8.8/v.mp4", "fast")],
)
async def test_a_camera_takes_what_a_camera_takes_without_being_told(server: Running, url: str, pace: str) -> None:
    session = (await server.http.post("/v1/sessions", json={"source": {"url": url}})).json()
    assert session["pace"] == pace
    record = await server.worker.store.get_session(session["id"])
    assert record.cost_steps_per_s == (MODEL.sample_hz if pace == "realtime" else 2.0)


def test_what_the_decoder_takes_for_live_is_submitted_as_live() -> None:
    assert CAMERA_SCHEMES == LIVE_SCHEMES


async def test_a_repeated_request_with_the_same_key_has_no_effect(server: Running) -> None:
    first = await upload(server, key="k1", name="a")
    again = await upload(server, key="k1", name="a")
    assert again.status_code == 202
    assert again.json() == first.json()
    assert stored_uploads(server) == [VIDEO]
    problem(await upload(server, key="k1", name="b"), 409, "idempotency_conflict")
    problem(await upload(server, key="k1", name="a", video=VIDEO + b"x"), 409, "idempotency_conflict")
    assert stored_uploads(server) == [VIDEO]
    assert len((await server.http.get("/v1/sessions")).json()["sessions"]) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "source"),
        ({"source": {"url": "ftp://example.org/a"}}, "source.url"),
        ({"source": {"url": "file:///etc/passwd"}}, "source.url"),
        ({"source": {"url": "https://example.org/v.mp4", "transport": "udp"}}, "source"),
        ({"source": {"url": "rtsp://example.org/v", "max_down_s": 0}}, "source.max_down_s"),
        ({"source": {"url": "http://a/b"}, "pace": "slow"}, "pace"),
        ({"source": {"url": "http://a/b"}, "labels": []}, "labels"),
        ({"source": {"url": "http://a/b"}, "nonsense": 1}, "nonsense"),
        ([], "body"),
    ],
)
async def test_an_invalid_request_names_the_field(server: Running, body: object, field: str) -> None:
    refused = problem(await server.http.post("/v1/sessions", json=body), 422, "invalid_request")
    assert refused.errors is not None
    assert [error.field for error in refused.errors] == [field]
    assert field in refused.detail


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest/meta-data/", "http://10.0.0.1:8000/", "http://[::1]/v"])
async def test_a_url_that_leads_inside_is_refused_at_once(server: Running, url: str) -> None:
    problem(await server.http.post("/v1/sessions", json={"source": {"url": url}}), 403, "source_forbidden")


async def test_unknown_models_and_labels_come_with_the_known_ones(server: Running) -> None:
    url = {"source": {"url": "http://a/b"}}
    refused = problem(await server.http.post("/v1/sessions", json={**url, "model": "x"}), 422, "unknown_model")
    assert refused.known == ["mocap"]
    refused = problem(await server.http.post("/v1/sessions", json={**url, "labels": ["fly"]}), 422, "unknown_label")
    assert refused.known == MODEL.labels
    assert "fly" in refused.detail
    problem(await upload(server, labels=["fly"]), 422, "unknown_label")
    assert stored_uploads(server) == []


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_other_content_types_are_refused(server: Running, content_type: str) -> None:
    response = await server.http.post("/v1/sessions", content=b"x", headers={"Content-Type": content_type})
    problem(response, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "ends before"),
        (b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\nabc", "ends before"),
        (b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\n\r\n--b--\r\n", "empty"),
        (b"--b\r\nContent-Disposition: form-data; name=session\r\n\r\n{}\r\n--b--\r\n", "missing"),
        (b"--b\r\nContent-Disposition: form-data; name=other\r\n\r\n{}\r\n--b--\r\n", "no such part"),
        (b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\nx\r\n" * 2 + b"--b--\r\n", "twice"),
        (b"nonsense", "not well-formed"),
    ],
)
async def test_a_malformed_upload_is_refused_and_leaves_nothing(server: Running, body: bytes, message: str) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    refused = problem(await server.http.post("/v1/sessions", content=body, headers=headers), 422, "invalid_request")
    assert message in refused.detail
    assert stored_uploads(server) == []


async def test_invalid_options_of_an_upload_leave_no_file(server: Running) -> None:
    refused = problem(await upload(server, pace="slow"), 422, "invalid_request")
    assert refused.errors is not None
    assert refused.errors[0].field == "pace"
    problem(
        await server.http.post("/v1/sessions", files={"file": b"x", "session": (None, "{")}), 422, "invalid_request"
    )
    assert stored_uploads(server) == []


async def test_an_announced_upload_over_the_limit_is_refused_before_it_is_sent(server: Running) -> None:
    reader, writer = await asyncio.open_connection(*server.url.removeprefix("http://").split(":"))
    writer.write(
        b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: 99000000\r\n\r\n--b\r\n"
    )
    assert (await reader.readuntil(b"too_large")).startswith(b"HTTP/1.1 413")
    writer.transport.abort()


async def test_an_unannounced_upload_over_the_limit_is_refused_before_all_is_sent(server: Running) -> None:
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
async def test_a_client_that_stops_sending_is_given_up(
    server: Running, kind: str, part: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.body.PATIENCE_S", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(server.url).port)
    head = f"POST /v1/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: 1000\r\n\r\n"
    writer.write(head.encode() + part)
    answer = await reader.readuntil(b"request_timeout")
    assert answer.startswith(b"HTTP/1.1 408")
    assert stored_uploads(server) == []
    writer.close()
    await writer.wait_closed()


async def test_an_ordinary_client_sees_why_its_upload_is_too_large(server: Running) -> None:
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


async def test_a_session_beyond_the_capacity_is_told_when_to_try_again(server: Running) -> None:
    server.worker.capacity_steps_per_s = 25
    await server.worker.register()
    for _ in range(2):
        await server.submit(pace="realtime")
    await server.submit(pace="fast")
    refused = await server.http.post("/v1/sessions", json={"source": {"url": "http://a/b"}, "pace": "realtime"})
    problem(refused, 503, "over_capacity")
    assert int(refused.headers["retry-after"]) > 0


@settings(max_examples=30, deadline=None)
@given(
    video=st.binary(min_size=1, max_size=300),
    cuts=st.lists(st.integers(0, 600), max_size=8),
    options=st.sampled_from([b"", b'{"pace": "fast"}']),
)
async def test_an_upload_is_the_same_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, video: bytes, cuts: list[int], options: bytes
) -> None:
    path = tmp_path_factory.mktemp("upload") / "video"
    parts = [(b'name="file"; filename="a"', video)] + ([(b'name="session"', options)] if options else [])
    head = b"--frontier\r\nContent-Disposition: form-data; "
    body = b"".join(head + name + b"\r\n\r\n" + value + b"\r\n" for name, value in parts) + b"--frontier--\r\n"

    async def chunks() -> AsyncIterator[bytes]:
        for begin, end in itertools.pairwise([0, *sorted(cuts), len(body)]):
            yield body[begin:end]

    received = await receive_upload(chunks(), "multipart/form-data; boundary=frontier", path, max_bytes=300)
    assert path.read_bytes() == video
    assert (received.options_json, received.filename) == (options, "a")


async def test_a_full_disk_is_told_and_leaves_no_partial_file(tmp_path: Path) -> None:
    async with child_server(tmp_path / "data", max_file_bytes=3_000_000) as child:
        await registered(tmp_path / "data")
        async with httpx.AsyncClient(base_url=child.url) as client:
            refused = await client.post("/v1/sessions", files={"file": bytes(8_000_000)})
            problem(refused, 507, "storage_full")
            assert list((tmp_path / "data" / "uploads").iterdir()) == []
            assert (await client.post("/v1/sessions", files={"file": bytes(1_000_000)})).status_code == 202


async def test_an_upload_does_not_pass_through_memory_and_no_secret_reaches_the_log(tmp_path: Path) -> None:
    async with child_server(tmp_path / "data") as child:
        await registered(tmp_path / "data")
        async with httpx.AsyncClient(base_url=child.url, timeout=30) as client:
            before_bytes = resident_bytes(child.process.pid)
            for _ in range(2):
                assert (await client.post("/v1/sessions", files={"file": bytes(30_000_000)})).status_code == 202
            assert resident_bytes(child.process.pid) - before_bytes < 20_000_000
            assert (await client.post("/v1/sessions", json={"source": {"url": SECRET_URL}})).status_code == 202
            await client.post("/v1/sessions", json={"source": {"url": SECRET_URL}, "model": "x"})
        log = child.log.read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    assert {"method", "path", "status", "duration_s", "request_id", "timestamp", "level"} <= set(requests[0])
    assert "hunter2" not in log
    assert b"hunter2" in b"".join(path.read_bytes() for path in (tmp_path / "data").glob("cake.db*"))


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
