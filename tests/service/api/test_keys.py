"""API keys over HTTP: authentication, visibility of sessions, and limits."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from service.schemas import Session
from tests.support.access_kit import LIMITS, bearer, make_key
from tests.support.api_kit import VIDEO, problem, stored_uploads
from tests.support.events_kit import times_s
from tests.support.running_server import SECRET_URL, Running, running_server, until

SUBMISSION = {"source": {"url": SECRET_URL}}


async def submitted(server: Running, key: str) -> Session:
    """A session of the key that is running and has one action start."""
    answer = await server.http.post("/v1/sessions", json=SUBMISSION, headers=bearer(key))
    session = Session.model_validate(answer.raise_for_status().json())
    await server.worker.claim()
    await server.worker.enter(session.id, "running")
    await server.worker.starts(session.id, [0.5])
    return session


# Authentication


async def test_without_any_key_local_clients_are_accepted(server: Running) -> None:
    assert (await server.http.get("/v1/sessions")).status_code == 200
    assert (await server.http.get("/metrics")).status_code == 200


async def test_once_a_key_exists_loopback_clients_also_need_one(server: Running) -> None:
    key = await make_key(server, "sessions:read")
    refused = await server.http.get("/v1/sessions")
    problem(refused, 401, "unauthorized")
    assert refused.headers["www-authenticate"] == "Bearer"
    assert (await server.http.get("/v1/sessions", headers=bearer(key))).status_code == 200


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer x", "Basic dXNlcjpwYXNz", "Bearer cake_0123456789abcdef_" + "a" * 43, "bearer \xe9"],
)
async def test_an_unknown_key_is_rejected(server: Running, header: str) -> None:
    await make_key(server, "admin")
    refused = await server.http.get("/v1/sessions", headers=[(b"Authorization", header.encode("latin-1"))])
    problem(refused, 401, "unauthorized")


async def test_the_id_of_one_key_with_the_secret_of_another_is_rejected(server: Running) -> None:
    first, second = await make_key(server, "admin"), await make_key(server, "admin")
    mixed = "_".join([*first.split("_", 2)[:2], second.split("_", 2)[2]])
    problem(await server.http.get("/v1/sessions", headers=bearer(mixed)), 401, "unauthorized")


async def test_a_revoked_key_is_rejected_immediately_and_authentication_stays_on(server: Running) -> None:
    key = await make_key(server, "admin", name="only")
    assert (await server.http.get("/v1/sessions", headers=bearer(key))).status_code == 200
    await server.worker.store.keys.revoke("only", now=datetime.now(UTC))
    problem(await server.http.get("/v1/sessions", headers=bearer(key)), 401, "unauthorized")
    problem(await server.http.get("/v1/sessions"), 401, "unauthorized")


async def test_health_checks_page_and_documentation_need_no_key(server: Running) -> None:
    await make_key(server, "admin")
    for path in ("/livez", "/readyz", "/", "/static/app.js", "/docs", "/openapi.json"):
        assert (await server.http.get(path)).status_code == 200, path


async def test_authentication_can_be_required_before_a_key_exists_or_off(tmp_path: Path) -> None:
    async with running_server(tmp_path / "required", auth="required") as server:
        problem(await server.http.get("/v1/sessions"), 401, "unauthorized")
    async with running_server(tmp_path / "off", auth="off") as server:
        key = await make_key(server, "metrics:read")
        for headers in ({}, bearer(key), bearer("nonsense")):
            assert (await server.http.get("/v1/sessions", headers=headers)).status_code == 200


async def test_an_upload_without_a_key_is_rejected_before_it_is_stored(server: Running) -> None:
    await make_key(server, "admin")
    problem(await server.http.post("/v1/sessions", files={"file": VIDEO * 8}), 401, "unauthorized")
    assert stored_uploads(server) == []


# What a key sees


async def test_a_key_sees_only_its_own_sessions_and_admin_sees_all(server: Running) -> None:
    before = await server.submit()
    await server.worker.claim()
    mine, other, admin = [
        await make_key(server, *scopes) for scopes in (("sessions:write", "sessions:read"),) * 2 + (("admin",),)
    ]
    sessions = [await submitted(server, key) for key in (mine, other)]

    async def listed(key: str) -> list[str]:
        page = (await server.http.get("/v1/sessions", headers=bearer(key))).json()
        return [session["id"] for session in page["sessions"]]

    assert await listed(mine) == [sessions[0].id]
    assert await listed(other) == [sessions[1].id]
    assert await listed(admin) == [sessions[1].id, sessions[0].id, before.id]


async def test_another_key_s_session_looks_like_an_unknown_one(server: Running) -> None:
    theirs = await submitted(server, await make_key(server, "sessions:write"))
    mine = await make_key(server, "sessions:read", "sessions:write", "events:read")
    for session_id in (theirs.id, "none"):
        path = f"/v1/sessions/{session_id}"
        for method, target in (
            *(("GET", f"{path}{part}") for part in ("", "/scores", "/snapshot.jpg", "/events")),
            ("DELETE", path),
        ):
            refused = problem(await server.http.request(method, target, headers=bearer(mine)), 404, "not_found")
            assert refused.detail == "There is no session with this id. It may have been deleted."
        stream = {**bearer(mine), "Accept": "text/event-stream"}
        problem(await server.http.get(f"{path}/events", headers=stream), 404, "not_found")
    assert (await server.worker.store.sessions.get(theirs.id)).state == "running"


async def test_a_key_follows_the_events_of_its_own_sessions(server: Running) -> None:
    keys = [await make_key(server, "sessions:write", "events:read") for _ in range(2)]
    admin = await make_key(server, "admin")
    sessions = [await submitted(server, key) for key in keys]
    url = f"{server.ws_url}/v1/events?after=0"
    async with (
        connect(url, additional_headers=bearer(keys[1])) as own,
        connect(url, additional_headers=bearer(admin)) as everything,
    ):
        history = [json.loads(await everything.recv())["event"] for _ in range(6)]
        for session in sessions:
            await server.worker.starts(session.id, times_s(7, 9))
        seen = history + [json.loads(await everything.recv())["event"] for _ in range(4)]
        mine = [json.loads(await own.recv())["event"] for _ in range(5)]
    assert {event["session_id"] for event in seen} == {session.id for session in sessions}
    assert mine == [event for event in seen if event["session_id"] == sessions[1].id]


async def test_idempotency_keys_are_separate_for_each_api_key(server: Running) -> None:
    keys = [await make_key(server, "sessions:write") for _ in range(2)]
    ids = [
        (
            await server.http.post("/v1/sessions", json=SUBMISSION, headers={**bearer(key), "Idempotency-Key": "k"})
        ).json()["id"]
        for key in (*keys, *keys)
    ]
    assert ids[:2] == ids[2:]
    assert ids[0] != ids[1]


# Limits


def limited(answer: httpx.Response, code: str) -> None:
    problem(answer, 429, code)
    assert int(answer.headers["retry-after"]) >= 1


async def test_a_key_over_its_rate_limit_gets_retry_after(server: Running) -> None:
    key = await make_key(server, "sessions:read", limits=LIMITS.model_copy(update={"requests_per_s": 1e-6}))
    other = await make_key(server, "sessions:read")
    assert (await server.http.get("/v1/sessions", headers=bearer(key))).status_code == 200
    limited(await server.http.get("/v1/sessions", headers=bearer(key)), "rate_limited")
    assert (await server.http.get("/v1/sessions", headers=bearer(other))).status_code == 200


async def test_a_key_cannot_exceed_its_session_limit(server: Running) -> None:
    key = await make_key(
        server, "sessions:write", "sessions:read", limits=LIMITS.model_copy(update={"max_sessions": 1})
    )
    first = await submitted(server, key)
    limited(await server.http.post("/v1/sessions", json=SUBMISSION, headers=bearer(key)), "session_limit")
    await server.worker.enter(first.id, "completed")
    answer = await server.http.post("/v1/sessions", json=SUBMISSION, headers=bearer(key))
    assert answer.status_code == 202


async def test_a_key_cannot_exceed_its_storage_quota(server: Running) -> None:
    limits = LIMITS.model_copy(update={"max_stored_bytes": 1_500_000})
    key = await make_key(server, "sessions:write", limits=limits)

    async def upload(video: bytes) -> httpx.Response:
        return await server.http.post("/v1/sessions", files={"file": video}, headers=bearer(key))

    path = (await upload(bytes(1_000_000))).headers["location"]
    limited(await upload(bytes(500_001)), "storage_limit")
    limited(await upload(bytes(8_000_000)), "storage_limit")
    assert [len(video) for video in stored_uploads(server)] == [1_000_000]
    for _ in range(2):
        await server.http.delete(path, headers=bearer(key))
    assert (await upload(bytes(1_500_000))).status_code == 202


async def test_an_unauthenticated_stream_ends_when_a_key_becomes_required(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.feed.fanout.HEARTBEAT_S", 0.05)
    monkeypatch.setattr("service.api.reauthorization.RECHECK_EVERY_S", 0.05)
    session = await server.running_session()
    async with connect(f"{server.ws_url}{session.links.events}") as socket:
        await make_key(server, "events:read")
        await asyncio.wait_for(socket.wait_closed(), timeout=60)
        assert socket.close_code == 1008


async def test_a_long_poll_returns_nothing_once_its_key_is_revoked(server: Running) -> None:
    key = await make_key(server, "events:read", "sessions:write", name="gone")
    session = await submitted(server, key)
    params: dict[str, Any] = {"after": "500-0", "wait_s": 50}
    polling = asyncio.create_task(server.http.get(session.links.events, params=params, headers=bearer(key)))
    # Recorded once the request was admitted.
    await until(lambda: '"session.view"' in server.settings.audit_path.read_text())
    await server.worker.store.keys.revoke("gone", now=datetime.now(UTC))
    await server.worker.starts(session.id, [1.5])
    problem(await polling, 401, "unauthorized")


async def test_an_open_stream_ends_when_its_key_is_revoked(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.feed.fanout.HEARTBEAT_S", 0.05)
    monkeypatch.setattr("service.api.reauthorization.RECHECK_EVERY_S", 0.05)
    key = await make_key(server, "events:read", "sessions:write", name="gone")
    session = await submitted(server, key)
    options: dict[str, Any] = {"additional_headers": bearer(key)}
    async with connect(f"{server.ws_url}{session.links.events}", **options) as socket:
        await server.worker.store.keys.revoke("gone", now=datetime.now(UTC))
        await asyncio.wait_for(socket.wait_closed(), timeout=60)
        assert socket.close_code == 1008
