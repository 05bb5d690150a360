"""People whom a proxy has authenticated: whose headers are believed, and what they may do."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import ValidationError

from service.access.keys import Person, key_of_person
from service.access.scopes import Scope
from service.settings import Settings
from tests.support.access_kit import LIMITS, bearer, make_key
from tests.support.api_kit import problem
from tests.support.running_server import SECRET_URL, Running, running_server

ROLES = [
    {"groups": ["ops"], "scopes": ["admin"]},
    {"groups": ["guards"], "scopes": ["sessions:read", "sessions:write", "events:read"]},
]
ANN = {"X-Forwarded-User": "ann", "X-Forwarded-Groups": "night, guards"}
VIDEO = {"source": {"url": SECRET_URL}}


@pytest.fixture
def roles(tmp_path: Path) -> Path:
    path = tmp_path / "roles.json"
    path.write_text(json.dumps(ROLES))
    return path


@pytest.fixture
def roles_of_the_north(tmp_path: Path) -> Path:
    path = tmp_path / "north.json"
    path.write_text(json.dumps([ROLES[0], {**ROLES[1], "metadata": {"site": ["north"]}}]))
    return path


@pytest_asyncio.fixture
async def server(tmp_path: Path, roles: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "data", roles=roles, identity_proxies="127.0.0.1") as running:
        yield running


async def test_a_person_has_the_role_of_their_groups_at_each_request(server: Running) -> None:
    problem(await server.http.get("/v1/sessions"), 401, "unauthorized")
    made = await server.http.post("/v1/sessions", json=VIDEO, headers=ANN)
    bob = {**ANN, "X-Forwarded-User": "bob"}
    problem(await server.http.get(made.headers["location"], headers=bob), 404, "not_found")
    assert (await server.http.get(made.headers["location"], headers=ANN)).status_code == 200
    assert (await server.http.get(made.headers["location"], headers={**bob, "X-Forwarded-Groups": "ops"})).is_success
    for groups in ({}, {"X-Forwarded-Groups": "Guards"}):
        answer = await server.http.get("/v1/sessions", headers={"X-Forwarded-User": "ann", **groups})
        assert "ann" in problem(answer, 403, "no_role").detail
    problem(await server.http.get("/v1/keys", headers=ANN), 403, "missing_scope")


async def test_a_role_is_limited_to_cameras_by_their_metadata(
    server: Running, roles_of_the_north: Path, tmp_path: Path
) -> None:
    ops = {"X-Forwarded-User": "olga", "X-Forwarded-Groups": "ops"}
    for site in ("north", "south"):
        await server.http.post("/v1/sessions", json={**VIDEO, "metadata": {"site": site}}, headers=ops)
    target = {"target": {"kind": "webhook", "url": "http://127.0.0.1:9/hook"}}
    made = (await server.http.post("/v1/subscriptions", json=target, headers=ANN)).json()
    proxy = {"roles": roles_of_the_north, "identity_proxies": "127.0.0.1"}
    async with running_server(tmp_path / "other", store_url=server.settings.resolved_store_url, **proxy) as other:
        listed = (await other.http.get("/v1/sessions", headers=ANN)).json()["sessions"]
        assert [session["metadata"] for session in listed] == [{"site": "north"}]
        # It was made when ann saw what she had submitted herself.
        shown = (await other.http.get(f"/v1/subscriptions/{made['id']}", headers=ANN)).json()
        assert shown["state"] == "disabled"
        assert len((await other.http.get("/v1/sessions", headers=ops)).json()["sessions"]) == 2


async def test_the_client_of_the_proxy_and_the_person_are_in_the_audit_log(server: Running) -> None:
    await server.http.post("/v1/sessions", json=VIDEO, headers={**ANN, "X-Forwarded-For": "192.0.2.7"})
    entry = json.loads(server.settings.audit_path.read_text())
    assert (entry["person"], entry["issuer"], entry["address"]) == ("ann", "proxy", "192.0.2.7")
    assert "key_name" not in entry


async def test_the_key_of_someone_else_is_never_a_persons(server: Running) -> None:
    ann = Person(issuer="proxy", subject="ann")
    clash = key_of_person(ann, "mallory", [Scope.ADMIN], LIMITS, created_at=datetime.now(UTC))
    other = clash.model_copy(update={"person": Person(issuer="proxy", subject="mallory")})
    await server.worker.store.keys.admit(other)
    problem(await server.http.get("/v1/sessions", headers=ANN), 401, "unauthorized")
    assert await server.worker.store.keys.find(other.id) == other


async def test_headers_that_are_sent_twice_or_empty_are_refused(server: Running) -> None:
    for extra in (("X-Forwarded-User", "root"), ("X-Forwarded-Groups", "ops")):
        answer = await server.http.get("/v1/sessions", headers=[*ANN.items(), extra])
        problem(answer, 401, "unauthorized")
    problem(await server.http.get("/v1/sessions", headers={**ANN, "X-Forwarded-User": ""}), 401, "unauthorized")


async def test_pages_of_other_sites_do_not_act_for_a_person(server: Running) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}):
        problem(await server.http.get("/v1/sessions", headers={**ANN, **headers}), 403, "origin_forbidden")
    own = {**ANN, "Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    assert (await server.http.post("/v1/sessions", json=VIDEO, headers=own)).status_code == 202


async def test_a_key_in_the_request_takes_precedence(server: Running) -> None:
    key = await make_key(server, "metrics:read")
    problem(await server.http.get("/v1/sessions", headers={**ANN, **bearer(key)}), 403, "missing_scope")
    wrong = bearer("cake_0123456789abcdef_" + "a" * 43)
    problem(await server.http.get("/v1/sessions", headers={**ANN, **wrong}), 401, "unauthorized")


async def test_a_persons_access_can_be_revoked_and_given_back(server: Running) -> None:
    known = (await server.http.get("/v1/identity", headers=ANN)).json()
    admin = {"X-Forwarded-User": "olga", "X-Forwarded-Groups": "ops"}
    assert (await server.http.delete(f"/v1/keys/{known['id']}", headers=admin)).is_success
    assert "revoked" in problem(await server.http.get("/v1/sessions", headers=ANN), 401, "unauthorized").detail
    path = f"/v1/keys/{known['id']}"
    problem(await server.http.patch(path, json={"scopes": ["admin"]}, headers=admin), 422, "invalid_request")
    given_back = await server.http.patch(path, json={"revoked": False}, headers=admin)
    assert given_back.json()["revoked_at"] is None
    assert (await server.http.get("/v1/sessions", headers=ANN)).status_code == 200


@pytest.mark.parametrize(
    "options",
    [
        {"identity_proxies": "192.0.2.0/24"},
        {"identity_proxies": "127.0.0.1", "identity_user_header": "Remote-User"},
        {},
    ],
)
async def test_headers_of_anyone_else_are_ignored(tmp_path: Path, roles: Path, options: dict[str, Any]) -> None:
    # The client may claim to be the proxy: what counts is the other end of the connection.
    claims = {**ANN, "X-Forwarded-For": "192.0.2.1"}
    async with running_server(tmp_path / "data", roles=roles, auth="required", **options) as server:
        problem(await server.http.get("/v1/sessions", headers=claims), 401, "unauthorized")
        assert not await server.worker.store.keys.exist()


async def test_a_server_that_identifies_people_lets_nobody_else_in_before_a_key_exists(
    tmp_path: Path, roles: Path
) -> None:
    async with running_server(tmp_path / "data", roles=roles, identity_proxies="192.0.2.0/24") as server:
        problem(await server.http.get("/v1/sessions"), 401, "unauthorized")
        assert (await server.http.get("/v1/identity")).json()["kind"] is None


def test_settings_that_would_let_everyone_in_or_nobody_are_refused(roles: Path) -> None:
    proxies: dict[str, object] = {"identity_proxies": "10.0.0.7"}
    oidc: dict[str, object] = {"roles": roles, "oidc_issuer": "https://a.example", "oidc_client_id": "cake"}
    url: dict[str, object] = {"public_url": "https://cake.example"}
    Settings.model_validate({**oidc, **url})
    wrong: list[tuple[dict[str, object], str]] = [
        (proxies, "CAKE_ROLES"),
        ({**proxies, "roles": roles, "auth": "off"}, "CAKE_AUTH=off"),
        (oidc, "CAKE_PUBLIC_URL"),
        ({**oidc, "public_url": "http://cake.example"}, "https://"),
        ({**oidc, **url, "oidc_issuer": "http://a.example"}, "https://"),
        ({**oidc, **url, "root_path": "/cake"}, "CAKE_ROOT_PATH"),
        ({**oidc, **url, "oidc_audience": "cake"}, "CAKE_OIDC_AUDIENCE"),
    ]
    for options, reason in wrong:
        with pytest.raises(ValidationError, match=reason):
            Settings.model_validate(options)
