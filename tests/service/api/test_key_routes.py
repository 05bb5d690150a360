"""API keys created, listed, changed and revoked over HTTP."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect

from tests.support.access_kit import bearer, make_key
from tests.support.api_kit import problem
from tests.support.running_server import SECRET_URL, Running, running_server

UNTIL = datetime(2100, 1, 1, tzinfo=UTC)


@pytest_asyncio.fixture
async def admin(server: Running) -> dict[str, str]:
    return bearer(await make_key(server, "admin", name="operator"))


async def created(server: Running, admin: dict[str, str], **asked: object) -> dict[str, Any]:
    body = {"name": "yard", "scopes": ["sessions:read", "sessions:write", "events:read"], **asked}
    answer = await server.http.post("/v1/keys", json=body, headers=admin)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    made: dict[str, Any] = answer.json()
    return made


async def test_a_created_key_works_with_its_scopes_and_limits_and_is_shown_once(
    server: Running, admin: dict[str, str]
) -> None:
    made = await created(server, admin, requests_per_s=5, expires_at=UNTIL.isoformat())
    key = bearer(made.pop("key"))
    assert (made["kind"], made["requests_per_s"], made["max_sessions"]) == ("key", 5, 16)
    assert (await server.http.get("/v1/sessions", headers=key)).headers["ratelimit-limit"] == "10"
    problem(await server.http.get("/metrics", headers=key), 403, "missing_scope")
    operator, listed = (await server.http.get("/v1/keys", headers=admin)).json()["keys"]
    assert operator["name"] == "operator"
    assert listed.pop("last_used_at") is not None
    assert listed == {name: value for name, value in made.items() if name != "last_used_at"}
    problem(
        await server.http.post("/v1/keys", json={"name": "yard", "scopes": ["admin"]}, headers=admin),
        422,
        "invalid_request",
    )


async def test_a_changed_key_keeps_what_the_change_does_not_name(server: Running, admin: dict[str, str]) -> None:
    made = await created(server, admin, max_sessions=3, expires_at=UNTIL.isoformat())
    path, key = f"/v1/keys/{made['id']}", bearer(made["key"])
    changed = (await server.http.patch(path, json={"max_stored_bytes": 9}, headers=admin)).json()
    assert (changed["max_sessions"], changed["max_stored_bytes"]) == (3, 9)
    assert datetime.fromisoformat(changed["expires_at"]) == UNTIL
    change = {"scopes": ["sessions:read"], "expires_at": None, "max_sessions": 0}
    changed = (await server.http.patch(path, json=change, headers=admin)).json()
    assert (changed["expires_at"], changed["max_sessions"], changed["max_stored_bytes"]) == (None, 0, 9)
    assert (await server.http.get("/v1/sessions", headers=key)).status_code == 200
    problem(await server.http.post("/v1/tickets", headers=key), 403, "missing_scope")


async def test_impossible_changes_are_refused(server: Running, admin: dict[str, str]) -> None:
    made = await created(server, admin)
    path, past = f"/v1/keys/{made['id']}", (datetime.now(UTC) - timedelta(days=1)).isoformat()
    impossible: list[dict[str, object]] = [
        {},
        {"scopes": []},
        {"scopes": ["root"]},
        {"max_sessions": -1},
        {"name": "b"},
    ]
    for wrong in (*impossible, {"expires_at": past}):
        problem(await server.http.patch(path, json=wrong, headers=admin), 422, "invalid_request")
    problem(await server.http.patch("/v1/keys/" + "0" * 16, json={"max_sessions": 1}, headers=admin), 404, "not_found")
    problem(await server.http.delete("/v1/keys/" + "0" * 16, headers=admin), 404, "not_found")
    await server.http.delete(path, headers=admin)
    detail = problem(
        await server.http.patch(path, json={"expires_at": None}, headers=admin), 422, "invalid_request"
    ).detail
    assert "final" in detail


async def test_a_revoked_key_stops_working_and_so_do_its_sessions(server: Running, admin: dict[str, str]) -> None:
    made = await created(server, admin)
    path, key = f"/v1/keys/{made['id']}", bearer(made["key"])
    session = await server.http.post("/v1/sessions", json={"source": {"url": SECRET_URL}}, headers=key)
    revoked = (await server.http.delete(path, headers=admin)).json()
    assert revoked["sessions_stopped"] == 1
    assert revoked["revoked_at"] is not None
    problem(await server.http.get("/v1/sessions", headers=key), 401, "unauthorized")
    seen = (await server.http.get(session.headers["location"], headers=admin)).json()
    assert seen["state"] == "stopped"
    assert (await server.http.delete(path, headers=admin)).json()["sessions_stopped"] == 0


async def test_a_stream_ends_after_the_scopes_of_its_key_were_changed(
    server: Running, admin: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.feed.fanout.HEARTBEAT_S", 0.05)
    monkeypatch.setattr("service.api.reauthorization.RECHECK_EVERY_S", 0.05)
    made = await created(server, admin, scopes=["admin"])
    async with connect(f"{server.ws_url}/v1/events", additional_headers=bearer(made["key"])) as socket:
        await server.http.patch(f"/v1/keys/{made['id']}", json={"scopes": ["events:read"]}, headers=admin)
        await asyncio.wait_for(socket.wait_closed(), timeout=60)
        assert socket.close_code == 1008


async def test_a_key_that_loses_admin_also_loses_its_subscriptions(server: Running, admin: dict[str, str]) -> None:
    made = await created(server, admin, scopes=["admin"])
    target = {"kind": "webhook", "url": "http://127.0.0.1:9/hook"}
    answer = await server.http.post("/v1/subscriptions", json={"target": target}, headers=bearer(made["key"]))
    subscription = answer.raise_for_status().headers["location"]
    for change, state in (({"max_sessions": 1}, "active"), ({"scopes": ["events:read"]}, "disabled")):
        await server.http.patch(f"/v1/keys/{made['id']}", json=change, headers=admin)
        assert (await server.http.get(subscription, headers=admin)).json()["state"] == state


async def test_nobody_manages_keys_while_none_is_required(tmp_path: Path) -> None:
    for auth in ("off", "auto"):
        async with running_server(tmp_path / auth, auth=auth) as server:
            for method, body in (("GET", None), ("POST", {"name": "a", "scopes": ["admin"]})):
                answer = await server.http.request(method, "/v1/keys", json=body)
                assert "cake keys create" in problem(answer, 403, "missing_scope").detail
            assert not await server.worker.store.keys.exist()


async def test_the_audit_log_names_who_changed_which_key(server: Running, admin: dict[str, str]) -> None:
    made = await created(server, admin)
    await server.http.patch(f"/v1/keys/{made['id']}", json={"max_sessions": 1, "expires_at": None}, headers=admin)
    await server.http.delete(f"/v1/keys/{made['id']}", headers=admin)
    text = server.settings.audit_path.read_text()
    entries = [json.loads(line) for line in text.splitlines()]
    assert [(entry["action"], entry["key_name"], entry["changed_key_name"]) for entry in entries] == [
        (action, "operator", "yard") for action in ("key.create", "key.change", "key.revoke")
    ]
    assert entries[1]["what"] == "expires_at, max_sessions"
    assert made["key"] not in text
