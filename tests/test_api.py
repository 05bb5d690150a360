"""See, stop and delete sessions; problems, health, metrics and documentation."""

import json
import re
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from api_kit import problem, stored_uploads, upload
from running_server import MODEL, Running, running_server

from service.api.viewers import Viewers
from service.blobs import Blobs
from service.listening import listen
from service.requests import SessionRequest
from service.store.base import ScoreRow


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "data", max_upload_bytes=4_000_000) as running:
        yield running


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
    assert (await server.worker.store.renew_leases("w1")).stop == {record.id}
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
    await Blobs(None, server.settings.data_dir).put_snapshot(session.id, b"jpeg")
    picture = await server.http.get(session.links.snapshot)
    assert (picture.content, picture.headers["content-type"]) == (b"jpeg", "image/jpeg")
    problem(await server.http.get("/v1/sessions/..%2Fcake/snapshot.jpg"), 404, "not_found")


async def test_who_looks_at_the_pictures_is_told_to_the_worker(server: Running) -> None:
    seen, unseen = await server.running_session(), await server.running_session()
    await server.http.get(seen.links.snapshot)
    watched = (await server.worker.store.renew_leases("w1")).watched
    assert seen.id in watched
    assert unseen.id not in watched
    stranger = await server.http.get(f"/v1/sessions/{seen.id[:-1]}x/snapshot.jpg")
    assert stranger.status_code == 404


def test_the_store_is_told_of_a_viewer_now_and_then() -> None:
    viewers = Viewers()
    told = [(n, key) for n in range(8) for key in ("a", "b") if viewers.is_news(key, n / 2)]
    assert told == [(0, "a"), (0, "b"), (4, "a"), (4, "b")]


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
    refused = await server.http.patch("/v1/sessions")
    assert refused.headers["allow"] == "GET, POST"
    assert problem(refused, 405, "method_not_allowed").detail == "Use another method: GET, POST."


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_a_page_has_a_head(server: Running, path: str) -> None:
    page, head = await server.http.get(path), await server.http.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(page.content))


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
    assert len(addresses) >= 4
    for address in addresses:
        assert (await server.http.get(f"/{address}")).status_code == 200
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
        "/v1/sessions/{session_id}/stream",
        "/v1/sessions/{session_id}/events",
        "/v1/sessions/{session_id}/scores",
        "/v1/sessions/{session_id}/snapshot.jpg",
        "/v1/tickets",
        "/v1/capabilities",
        "/v1/models",
        "/livez",
        "/readyz",
        "/readyz/store",
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


def test_only_one_server_gets_an_address() -> None:
    taken = listen("127.0.0.1", 0)
    taken.listen()
    with pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", taken.getsockname()[1])
    taken.close()
