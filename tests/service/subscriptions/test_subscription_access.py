"""Who may subscribe to which events, and what a subscription shows."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.store.revocation import revoke_key
from tests.support.access_kit import bearer, make_key
from tests.support.api_kit import problem
from tests.support.running_server import running_server
from tests.support.subscription_kit import until_received, until_state
from tests.support.webhook_receiver import receiving

SCOPES = ("events:read", "sessions:write")
SECRET_TARGET = {"kind": "webhook", "url": "http://user:hunter2@127.0.0.1:9/hook?token=hunter2"}


async def test_a_key_subscribes_to_its_own_sessions_and_admin_to_all(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        admin, alice, bob = [await make_key(server, *scopes) for scopes in (("admin",), SCOPES, SCOPES)]
        with receiving() as (url, own), receiving() as (all_url, every):
            body = {"filter": {"type": ["action.start"]}}
            for key, target in ((alice, url), (admin, all_url)):
                request = {**body, "target": {"kind": "webhook", "url": target}}
                created = (await server.http.post("/v1/subscriptions", json=request, headers=bearer(key))).json()
                assert created["all_sessions"] is (key is admin)
            for key in (bob, alice):
                server.http.headers.update(bearer(key))
                session = await server.submit()
                await server.worker.claim()
                await server.worker.starts(session.id, [1.0])
            await until_received(2, every.taken)
            await until_received(1, own.taken)
        assert [event["session_id"] for event in own.taken] == [session.id]
        for key, count in ((admin, 2), (alice, 1), (bob, 0)):
            listed = (await server.http.get("/v1/subscriptions", headers=bearer(key))).json()
            assert len(listed["subscriptions"]) == count


async def test_a_cursor_beyond_the_newest_event_is_rejected(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        await server.submit()
        end = (await server.http.get("/v1/events")).json()["end"]
        body = {"target": SECRET_TARGET, "after": str(int(end) + 1)}
        refused = problem(await server.http.post("/v1/subscriptions", json=body), 422, "invalid_request")
        assert end in refused.detail
        assert (await server.http.post("/v1/subscriptions", json={**body, "after": end})).status_code == 201


async def test_subscriptions_of_other_keys_are_unknown(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        alice, bob, reader = [await make_key(server, *scopes) for scopes in (SCOPES, SCOPES, ("events:read",))]
        answer = await server.http.post("/v1/subscriptions", json={"target": SECRET_TARGET}, headers=bearer(alice))
        path = answer.headers["location"]
        for method, suffix in (("GET", ""), ("DELETE", ""), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/test")):
            answer = await server.http.request(method, path + suffix, headers=bearer(bob), json={})
            problem(answer, 404, "not_found")
        problem(
            await server.http.post("/v1/subscriptions", json={"target": SECRET_TARGET}, headers=bearer(reader)),
            403,
            "missing_scope",
        )
        assert (await server.http.delete(path, headers=bearer(alice))).status_code == 204
        problem(await server.http.get(path, headers=bearer(alice)), 404, "not_found")


async def test_a_revoked_key_disables_its_subscriptions(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        admin = await make_key(server, "admin")
        alice = await make_key(server, *SCOPES, name="alice")
        answer = await server.http.post("/v1/subscriptions", json={"target": SECRET_TARGET}, headers=bearer(alice))
        await revoke_key(server.worker.store, "alice", now=datetime.now(UTC))
        server.http.headers.update(bearer(admin))
        await until_state(server, answer.json()["id"], "disabled")


async def test_the_number_of_subscriptions_is_limited(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data", max_subscriptions=1) as server:
        assert (await server.http.post("/v1/subscriptions", json={"target": SECRET_TARGET})).status_code == 201
        problem(await server.http.post("/v1/subscriptions", json={"target": SECRET_TARGET}), 429, "subscription_limit")


async def test_a_target_in_the_inner_network_is_refused(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        body = {"target": {"kind": "webhook", "url": "http://169.254.169.254/"}}
        problem(await server.http.post("/v1/subscriptions", json=body), 403, "webhook_forbidden")


@pytest.mark.parametrize("host", ["[::1]", "[::ffff:10.0.0.1]", "[fd00:ec2::254]", "LOCALHOST", "2130706433"])
async def test_an_inner_address_is_refused_in_every_notation_and_kind(tmp_path: Path, host: str) -> None:
    async with running_server(tmp_path / "data", source_allow="") as server:
        for kind, scheme in (("webhook", "http"), ("mqtt", "mqtt"), ("redis", "redis")):
            target = {"kind": kind, "url": f"{scheme}://{host}:9"}
            answer = await server.http.post("/v1/subscriptions", json={"target": target})
            problem(answer, 403, "webhook_forbidden")


async def test_secrets_are_shown_once_and_never_recorded(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        answer = await server.http.post("/v1/subscriptions", json={"target": SECRET_TARGET, "name": "gate"})
        created = answer.json()
        assert created["target"]["url"] == "http://127.0.0.1:9/hook?…"
        assert created["target"]["secret"].startswith("whsec_")
        path = answer.headers["location"]
        for shown in (answer, await server.http.get(path), await server.http.post(f"{path}/pause")):
            assert "hunter2" not in shown.text
        assert (await server.http.get(path)).json()["target"]["secret"] is None
        await server.http.post(f"{path}/resume", json={})
        await server.http.post(f"{path}/test")
        await server.http.delete(path)
        recorded = server.settings.audit_path.read_text()
        assert "hunter2" not in recorded
        for action in ("create", "pause", "resume", "test", "delete"):
            assert f'"subscription.{action}"' in recorded
