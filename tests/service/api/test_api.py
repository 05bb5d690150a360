"""List, stop and delete sessions; errors, health checks, logs and metrics."""

import re
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest
import pytest_asyncio
import structlog
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from service.api.context import Watchers
from service.listening import listen
from service.storage.blobs import Blobs
from service.storage.deletion import OrphanSweep
from service.store.records import ScoreRow
from tests.support.api_kit import problem, stored_uploads, upload
from tests.support.running_server import MODEL, Running, running_server


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "data", max_upload_bytes=4_000_000) as running:
        yield running


# Sessions


async def test_sessions_are_listed_in_pages_newest_first(server: Running) -> None:
    created = [(await server.submit()).id for _ in range(3)]
    first = (await server.http.get("/v1/sessions", params={"limit": 2})).json()
    second = (await server.http.get("/v1/sessions", params={"limit": 2, "before": first["next"]})).json()
    assert [session["id"] for session in first["sessions"] + second["sessions"]] == created[::-1]
    assert second["next"] is None
    assert (await server.http.get("/v1/sessions", params={"state": "failed"})).json()["sessions"] == []
    problem(await server.http.get("/v1/sessions", params={"before": "x"}), 422, "invalid_request")
    problem(await server.http.get("/v1/sessions", params={"limit": 0}), 422, "invalid_request")


async def test_sessions_are_filtered_by_name_and_metadata_as_events_are(server: Running) -> None:
    for name, site in (("door", "north"), ("gate", "north"), ("door", "south")):
        await server.submit(name=name, metadata={"site": site})

    async def found(query: str) -> list[tuple[str, str]]:
        sessions = (await server.http.get(f"/v1/sessions?{query}")).json()["sessions"]
        return [(session["name"], session["metadata"]["site"]) for session in sessions]

    assert await found("name=door") == [("door", "south"), ("door", "north")]
    assert await found("name=door&name=gate&metadata.site=north&state=queued") == [("gate", "north"), ("door", "north")]
    assert await found("metadata.floor=1") == []
    refused = problem(await server.http.get("/v1/sessions?nmae=door"), 422, "invalid_request")
    assert "metadata.KEY, name, state" in refused.detail
    problem(await server.http.get("/v1/sessions", params={"metadata.site": "x" * 201}), 422, "invalid_request")


async def test_delete_stops_a_running_session_and_deletes_an_ended_one(server: Running) -> None:
    path = (await upload(server)).headers["location"]
    record = await server.worker.claim()
    assert (await server.http.delete(path)).status_code == 202
    assert (await server.worker.store.workers.renew("w1")).stop_requested == {record.id}
    await server.worker.enter(record.id, "stopped")
    assert stored_uploads(server) != []
    assert (await server.http.delete(path)).status_code == 204
    assert stored_uploads(server) == []
    problem(await server.http.get(path), 404, "not_found")
    problem(await server.http.delete(path), 404, "not_found")


async def test_a_queued_session_stops_immediately(server: Running) -> None:
    path = (await server.submit()).links.self
    stopped = await server.http.delete(path)
    assert (stopped.status_code, stopped.json()["state"]) == (202, "stopped")


async def test_scores_are_returned_in_pages_with_their_labels(server: Running) -> None:
    session = await server.running_session()
    record = server.worker.records[session.id]
    rows = [ScoreRow(n / 10, (0.0, 0.5, 1.0)) for n in range(5)]
    await server.worker.store.log.commit(record.id, record.token, scores=rows)
    page = (await server.http.get(session.links.scores, params={"after_s": 0.1, "limit": 2})).json()
    assert page == {"region": None, "labels": MODEL.labels, "pts_s": [0.2, 0.3], "scores": [[0.0, 0.5, 1.0]] * 2}


async def test_scores_of_long_times_are_returned_as_the_highest_of_each_part(server: Running) -> None:
    session = await server.running_session()
    record = server.worker.records[session.id]
    rows = [ScoreRow(n / 10, (0.0, n % 8 / 8, n / 4096)) for n in range(2500)]
    await server.worker.store.log.commit(record.id, record.token, scores=rows)
    page = (await server.http.get(session.links.scores, params={"bin_s": 100})).json()
    assert page["pts_s"] == [99.9, 199.9, 249.9]
    assert page["scores"] == [[0.0, 0.875, n / 4096] for n in (999, 1999, 2499)]
    rest = (await server.http.get(session.links.scores, params={"bin_s": 100, "after_s": 99.9, "limit": 1})).json()
    assert (rest["pts_s"], rest["scores"]) == (page["pts_s"][1:2], page["scores"][1:2])
    problem(await server.http.get(session.links.scores, params={"bin_s": 0}), 422, "invalid_request")


async def test_the_snapshot_route_returns_the_latest_snapshot(server: Running) -> None:
    session = await server.submit()
    problem(await server.http.get(session.links.snapshot), 404, "not_found")
    await Blobs(None, server.settings.data_dir).put_snapshot(session.id, b"jpeg")
    snapshot = await server.http.get(session.links.snapshot)
    assert (snapshot.content, snapshot.headers["content-type"]) == (b"jpeg", "image/jpeg")
    problem(await server.http.get("/v1/sessions/..%2Fcake/snapshot.jpg"), 404, "not_found")


async def test_the_worker_is_notified_of_watched_sessions(server: Running) -> None:
    seen, unseen = await server.running_session(), await server.running_session()
    await server.http.get(seen.links.snapshot)
    watched = (await server.worker.store.workers.renew("w1")).watched
    assert seen.id in watched
    assert unseen.id not in watched
    stranger = await server.http.get(f"/v1/sessions/{seen.id[:-1]}x/snapshot.jpg")
    assert stranger.status_code == 404


async def test_a_glance_at_a_snapshot_does_not_make_the_worker_take_more(server: Running) -> None:
    session = await server.running_session()
    await Blobs(None, server.settings.data_dir).put_snapshot(session.id, b"jpeg")
    glance = await server.http.get(session.links.snapshot, params={"watch": "false"})
    assert glance.content == b"jpeg"
    assert (await server.worker.store.workers.renew("w1")).watched == set()


def test_watch_notices_are_rate_limited_per_session() -> None:
    watchers = Watchers()
    due = [(n, key) for n in range(8) for key in ("a", "b") if watchers.is_notice_due(key, n / 2)]
    assert due == [(0, "a"), (0, "b"), (4, "a"), (4, "b")]


# Errors, health, logs and metrics


async def test_the_server_is_ready_once_a_worker_is(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        assert (await server.http.get("/readyz")).json()["status"] == "ok"
        models = (await server.http.get("/v1/models")).json()
        assert models == {"default": "mocap", "models": [MODEL.model_dump()]}
        await server.worker.release()
        for path in ("/readyz", "/v1/models"):
            refused = await server.http.get(path)
            problem(refused, 503, "not_ready")
            assert "retry-after" in refused.headers
        assert (await server.http.get("/livez")).json() == {"status": "ok"}
        problem(await server.http.post("/v1/sessions", json={"source": {"url": "http://a/b"}}), 503, "not_ready")


def tomorrow() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)


async def test_a_locked_store_is_reported_in_time(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.store.sqlite.thread.PATIENCE_S", 0.2)
    locker = sqlite3.connect(server.settings.data_dir / "cake.db", isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    problem(await upload(server), 503, "store_unavailable")
    locker.execute("ROLLBACK")
    locker.close()
    # A store that fails may have created the session nevertheless: the file is left to the sweep.
    sweep = OrphanSweep(server.worker.store.sessions, Blobs(None, server.settings.data_dir), clock=tomorrow)
    assert await sweep.sweep() == 1
    assert stored_uploads(server) == []
    assert (await upload(server)).status_code == 202


async def test_unknown_paths_and_methods_are_problems(server: Running) -> None:
    problem(await server.http.get("/nothing"), 404, "not_found")
    refused = await server.http.put("/v1/models")
    problem(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == "GET, HEAD"
    refused = await server.http.patch("/v1/sessions")
    assert refused.headers["allow"] == "GET, HEAD, POST"
    assert problem(refused, 405, "method_not_allowed").detail == "Use one of these methods: GET, HEAD, POST."


async def test_every_response_has_a_request_id_and_adopts_a_well_formed_one(server: Running) -> None:
    mine = await server.http.get("/livez", headers={"X-Request-ID": "abc-1"})
    assert mine.headers["x-request-id"] == "abc-1"
    other = await server.http.get("/nothing", headers={"X-Request-ID": "a b" * 40})
    assert re.fullmatch("[0-9a-f]{32}", other.headers["x-request-id"])
    assert other.headers["x-content-type-options"] == "nosniff"


async def test_an_unknown_query_parameter_is_rejected(server: Running) -> None:
    session = await server.submit()
    refused = problem(
        await server.http.get(session.links.events, params={"types": "action.start", "limit": 5}),
        422,
        "invalid_request",
    )
    assert refused.errors is not None
    assert [error.field for error in refused.errors] == ["types"]
    assert "after, label, limit" in refused.detail
    problem(await server.http.delete(session.links.self, params={"force": "1"}), 422, "invalid_request")
    with pytest.raises(InvalidStatus) as raised:
        await connect(f"{server.ws_url}/v1/events?lable=kick")
    assert raised.value.response.status_code == 422


async def test_successful_requests_and_probes_are_logged_at_debug_level(server: Running) -> None:
    with structlog.testing.capture_logs() as logs:
        await server.http.get("/v1/sessions")
        await server.http.get("/nothing")
        await server.worker.release()
        assert (await server.http.get("/readyz")).status_code == 503
    levels = {line["status"]: line["log_level"] for line in logs if line["event"] == "request"}
    assert levels == {200: "debug", 404: "info", 503: "debug"}


async def test_metrics_name_the_version_and_the_routes_of_the_page(server: Running) -> None:
    for path in ("/", "/static/app.js", "/openapi.json", "/nothing"):
        await server.http.get(path)
    text = (await server.http.get("/metrics")).text
    assert f'cake_build_info{{version="{version("cake-served")}"}} 1.0' in text
    routes = set(re.findall(r'cake_http_request_duration_seconds_count{method="GET",route="([^"]+)"', text))
    assert routes == {"/", "static", "/openapi.json", "unmatched"}


async def test_metrics_count_requests_and_sessions_without_naming_them(server: Running) -> None:
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


def test_only_one_server_can_listen_on_an_address() -> None:
    taken = listen("127.0.0.1", 0)
    taken.listen()
    with pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", taken.getsockname()[1])
    taken.close()
