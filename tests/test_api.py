"""Submit, see, stop and delete sessions; problems, health, metrics and documentation."""

import asyncio
import itertools
import json
import re
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from running_server import MODEL, SECRET_URL, Running, Worker, child_server, running_server, until

from service.api.server import listen
from service.schemas import ProblemBody, SessionRequest
from service.store import open_store
from service.store.base import ScoreRow
from service.uploads import receive_upload

VIDEO = bytes(range(256)) * 5000


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "data", max_upload_bytes=4_000_000) as running:
        yield running


def problem(response: httpx.Response, status: int, code: str) -> ProblemBody:
    """The problem that an answer must be."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = ProblemBody.model_validate(response.json())
    assert (body.status, body.code) == (status, code)
    assert body.detail.endswith((".", "`."))
    return body


def stored_uploads(server: Running) -> list[bytes]:
    return [path.read_bytes() for path in server.settings.uploads_dir.iterdir()]


async def upload(server: Running, *, video: bytes = VIDEO, key: str | None = None, **options: object) -> httpx.Response:
    files: dict[str, Any] = {"file": ("clip.mp4", video)}
    if options:
        files["session"] = (None, json.dumps(options), "application/json")
    return await server.http.post("/v1/sessions", files=files, headers={"Idempotency-Key": key} if key else {})


# Submit


async def test_a_url_becomes_a_queued_session_without_its_secrets(server: Running) -> None:
    response = await server.http.post(
        "/v1/sessions", json={"source": {"url": SECRET_URL}, "labels": ["jump", "jump"], "name": "yard"}
    )
    session = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == session["links"]["self"] == f"/v1/sessions/{session['id']}"
    assert (session["state"], session["labels"], session["name"]) == ("queued", ["jump"], "yard")
    assert session["source"] == {"kind": "url", "url": "http://example.org/clip.mp4?…"}
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
        b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: 99000000\r\n\r\n--b\r\n"
    )
    assert (await reader.readuntil(b"too_large")).startswith(b"HTTP/1.1 413")
    writer.transport.abort()


async def test_an_unannounced_upload_over_the_limit_is_refused_before_all_is_sent(server: Running) -> None:
    reader, writer = await asyncio.open_connection(*server.url.removeprefix("http://").split(":"))
    part = b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\n"
    writer.write(
        b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(part), part)
    )
    answer = asyncio.create_task(reader.readuntil(b"too_large"))
    while not answer.done():
        writer.write(b"20000\r\n" + bytes(0x20000) + b"\r\n")
        await writer.drain()
    assert (await answer).startswith(b"HTTP/1.1 413")
    assert stored_uploads(server) == []
    writer.transport.abort()


async def test_an_ordinary_client_sees_why_its_upload_is_too_large(server: Running) -> None:
    problem(await upload(server, video=bytes(4_000_001)), 413, "too_large")
    problem(await upload(server, video=bytes(8_000_000)), 413, "too_large")
    long = {"source": {"url": "http://a/b"}, "name": "x" * 100_000}
    problem(await server.http.post("/v1/sessions", json=long), 413, "too_large")
    assert stored_uploads(server) == []


async def test_an_aborted_upload_leaves_no_file(server: Running) -> None:
    _, writer = await asyncio.open_connection(*server.url.removeprefix("http://").split(":"))
    writer.write(
        b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
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


# See, stop, delete


async def test_sessions_are_listed_in_pages_newest_first(server: Running) -> None:
    created = [(await server.submit()).id for _ in range(3)]
    first = (await server.http.get("/v1/sessions", params={"limit": 2})).json()
    second = (await server.http.get("/v1/sessions", params={"limit": 2, "before": first["next"]})).json()
    assert [session["id"] for session in first["sessions"] + second["sessions"]] == created[::-1]
    assert second["next"] is None
    assert (await server.http.get("/v1/sessions", params={"state": "failed"})).json()["sessions"] == []
    problem(await server.http.get("/v1/sessions", params={"before": "x"}), 422, "invalid_request")
    problem(await server.http.get("/v1/sessions", params={"limit": 0}), 422, "invalid_request")


async def test_a_running_session_is_asked_to_stop_and_an_ended_one_is_deleted(server: Running) -> None:
    path = (await upload(server)).headers["location"]
    record = await server.worker.claim()
    assert (await server.http.delete(path)).status_code == 202
    assert await server.worker.store.renew_leases("w1") == {record.id}
    await server.worker.enter(record.id, "stopped")
    assert stored_uploads(server) != []
    assert (await server.http.delete(path)).status_code == 204
    assert stored_uploads(server) == []
    problem(await server.http.get(path), 404, "not_found")
    problem(await server.http.delete(path), 404, "not_found")


async def test_a_waiting_session_stops_at_once(server: Running) -> None:
    path = (await server.submit()).links.self
    stopped = await server.http.delete(path)
    assert (stopped.status_code, stopped.json()["state"]) == (202, "stopped")


async def test_scores_come_in_pages_with_their_labels(server: Running) -> None:
    session = await server.running_session()
    record = server.worker.records[session.id]
    rows = [ScoreRow(n / 10, (0.0, 0.5, 1.0)) for n in range(5)]
    await server.worker.store.commit(record.id, record.token, scores=rows)
    page = (await server.http.get(session.links.scores, params={"after_s": 0.1, "limit": 2})).json()
    assert page == {"labels": MODEL.labels, "pts_s": [0.2, 0.3], "scores": [[0.0, 0.5, 1.0]] * 2}


async def test_the_snapshot_is_the_latest_picture(server: Running) -> None:
    session = await server.submit()
    problem(await server.http.get(session.links.snapshot), 404, "not_found")
    (server.settings.snapshots_dir / f"{session.id}.jpg").write_bytes(b"jpeg")
    picture = await server.http.get(session.links.snapshot)
    assert (picture.content, picture.headers["content-type"]) == (b"jpeg", "image/jpeg")
    problem(await server.http.get("/v1/sessions/..%2Fcake/snapshot.jpg"), 404, "not_found")


# Around it


async def test_the_server_is_ready_once_a_worker_is(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        assert (await server.http.get("/readyz")).json() == {"status": "ok"}
        models = (await server.http.get("/v1/models")).json()
        assert models == {"default": "mocap", "models": [MODEL.model_dump()]}
        await server.worker.store.release_worker("w1")
        for path in ("/readyz", "/v1/models"):
            refused = await server.http.get(path)
            problem(refused, 503, "not_ready")
            assert "retry-after" in refused.headers
        assert (await server.http.get("/livez")).json() == {"status": "ok"}
        problem(await server.http.post("/v1/sessions", json={"source": {"url": "http://a/b"}}), 503, "not_ready")


async def test_a_locked_store_gives_a_problem_in_time(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.store.sqlite_thread.PATIENCE_S", 0.2)
    locker = sqlite3.connect(server.settings.data_dir / "cake.db", isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    problem(await upload(server), 503, "store_unavailable")
    assert stored_uploads(server) == []
    locker.execute("ROLLBACK")
    locker.close()
    assert (await upload(server)).status_code == 202


async def test_paths_and_methods_that_do_not_exist_are_problems_too(server: Running) -> None:
    problem(await server.http.get("/nothing"), 404, "not_found")
    refused = await server.http.put("/v1/models")
    problem(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == "GET"


async def test_every_answer_has_a_request_id_and_a_harmless_one_is_kept(server: Running) -> None:
    mine = await server.http.get("/livez", headers={"X-Request-ID": "abc-1"})
    assert mine.headers["x-request-id"] == "abc-1"
    other = await server.http.get("/nothing", headers={"X-Request-ID": "a b" * 40})
    assert re.fullmatch("[0-9a-f]{32}", other.headers["x-request-id"])
    assert other.headers["x-content-type-options"] == "nosniff"


async def test_metrics_count_without_naming_sessions(server: Running) -> None:
    session = await server.running_session()
    await server.http.get(session.links.self)
    text = (await server.http.get("/metrics")).text
    for line in (
        'cake_sessions{state="running"} 1.0',
        'cake_sessions{state="failed"} 0.0',
        "cake_workers 1.0",
        "cake_capacity_steps_per_second 100.0",
        "cake_reserved_steps_per_second 2.0",
        "cake_store_up 1.0",
        'cake_http_request_duration_seconds_count{method="GET",route="/v1/sessions/{session_id}",status="200"} 1.0',
    ):
        assert line in text, line
    assert session.id not in text
    assert "example.org" not in text


async def test_the_documentation_needs_no_internet(server: Running) -> None:
    page = (await server.http.get("/docs")).text
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(addresses) >= 2
    for address in addresses:
        assert address.startswith("/")
        assert (await server.http.get(address)).status_code == 200
    assert "http://" not in page
    assert "https://" not in page


async def test_the_openapi_description_is_complete(server: Running) -> None:
    document = (await server.http.get("/openapi.json")).json()
    operations = {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert {path for _, path in operations} == {
        "/v1/sessions",
        "/v1/sessions/{session_id}",
        "/v1/sessions/{session_id}/events",
        "/v1/sessions/{session_id}/scores",
        "/v1/sessions/{session_id}/snapshot.jpg",
        "/v1/models",
        "/livez",
        "/readyz",
        "/metrics",
    }
    for operation in operations.values():
        assert operation["summary"]
        for status, response in operation["responses"].items():
            assert response["description"]
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"]
            elif status != "204":
                assert response["content"]
    assert "HTTPValidationError" not in json.dumps(document)
    used = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert used <= set(document["components"]["schemas"])
    post = operations["post", "/v1/sessions"]
    assert {"202", "409", "413", "415", "422", "503", "507"} <= set(post["responses"])
    assert set(post["requestBody"]["content"]) == {"application/json", "multipart/form-data"}
    SessionRequest.model_validate(post["requestBody"]["content"]["application/json"]["example"])


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


async def registered(data_dir: Path) -> None:
    store = open_store(f"sqlite://{data_dir}/cake.db")
    await Worker(store).register()
    await store.close()


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_only_one_server_gets_an_address() -> None:
    taken = listen("127.0.0.1", 0)
    taken.listen()
    with pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", taken.getsockname()[1])
    taken.close()
