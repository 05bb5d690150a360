"""How browsers open streams: single-use tickets, the origin of the page, security headers, and what is logged."""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from service.access.keys import Limits, digest, new_key
from service.access.scopes import Scope
from service.server_schemas import Ticket
from service.store import open_store
from tests.support.access_kit import bearer, make_key
from tests.support.api_kit import problem
from tests.support.running_server import Running, child_server, running_server

SSE = {"Accept": "text/event-stream"}


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(
        tmp_path / "data", allowed_origins="https://partner.example, https://other.example"
    ) as it:
        yield it


async def ticket_for(server: Running, key: str) -> str:
    answer = await server.http.post("/v1/tickets", headers=bearer(key))
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    ticket = Ticket.model_validate(answer.json())
    assert timedelta() < ticket.expires_at - datetime.now(UTC) <= timedelta(seconds=30)
    return ticket.ticket


async def refused(url: str, *, origin: str | None = None) -> httpx.Response:
    """The answer to a WebSocket handshake that must fail."""
    with pytest.raises(InvalidStatus) as error:
        await connect(url, origin=None if origin is None else Origin(origin))
    answer = error.value.response
    headers = {"content-type": answer.headers["content-type"]}
    return httpx.Response(answer.status_code, content=bytes(answer.body), headers=headers)


# Tickets


async def test_a_ticket_opens_one_websocket_with_the_view_of_its_key(server: Running) -> None:
    key = await make_key(server, "events:read", "sessions:write")
    other = await make_key(server, "events:read")
    answer = await server.http.post("/v1/sessions", json={"source": {"url": "http://a/b"}}, headers=bearer(key))
    url = f"{server.ws_url}{answer.json()['links']['events']}?ticket="
    ticket = await ticket_for(server, key)
    async with connect(url + ticket) as socket:
        assert json.loads(await socket.recv())["id"] == "0-0"
    problem(await refused(url + ticket), 401, "unauthorized")
    problem(await refused(url + await ticket_for(server, other)), 404, "not_found")


async def test_a_ticket_opens_one_event_stream(server: Running) -> None:
    key = await make_key(server, "events:read", "sessions:write")
    answer = await server.http.post("/v1/sessions", json={"source": {"url": "http://a/b"}}, headers=bearer(key))
    path = answer.json()["links"]["events"]
    params = {"ticket": await ticket_for(server, key)}
    async with server.http.stream("GET", path, params=params, headers=SSE) as stream:
        assert stream.status_code == 200
        assert (await anext(stream.aiter_lines())).startswith("retry")
    problem(await server.http.get(path, params=params, headers=SSE), 401, "unauthorized")


async def test_a_ticket_only_opens_streams(server: Running) -> None:
    key = await make_key(server, "admin")
    for path in ("/v1/sessions", "/v1/sessions/x/events", "/metrics"):
        params = {"ticket": await ticket_for(server, key)}
        problem(await server.http.get(path, params=params), 401, "unauthorized")
    params = {"ticket": await ticket_for(server, key)}
    problem(await server.http.get("/v1/sessions", params=params, headers=SSE), 403, "missing_scope")
    body = {"source": {"url": "http://a/b"}}
    problem(await server.http.post("/v1/sessions", params=params, headers=SSE, json=body), 401, "unauthorized")


async def test_a_ticket_of_one_server_is_accepted_by_another_with_the_same_store(
    server: Running, tmp_path: Path
) -> None:
    store_url = server.settings.resolved_store_url
    async with running_server(tmp_path / "replica", store_url=store_url) as replica, AsyncExitStack() as sockets:
        key = await make_key(server, "events:read")
        ticket = await ticket_for(server, key)
        await sockets.enter_async_context(connect(f"{replica.ws_url}/v1/events?ticket={ticket}"))
        problem(await refused(f"{server.ws_url}/v1/events?ticket={ticket}"), 401, "unauthorized")


async def test_expired_and_invalid_tickets_and_those_of_revoked_keys_are_rejected(server: Running) -> None:
    key = await make_key(server, "events:read", name="gone")
    store = server.worker.store
    (record,) = await store.keys.all()
    now = datetime.now(UTC)
    await store.keys.add_ticket(digest("late"), record.id, now=now, expires_at=now)
    url = f"{server.ws_url}/v1/events?ticket="
    revoked = await ticket_for(server, key)
    await store.keys.revoke("gone", now=now)
    for ticket in ("late", "made-up", "", revoked):
        problem(await refused(url + ticket), 401, "unauthorized")


async def test_without_authentication_tickets_are_issued_but_not_required(server: Running) -> None:
    ticket = Ticket.model_validate((await server.http.post("/v1/tickets")).json()).ticket
    for query in ("", f"?ticket={ticket}", f"?ticket={ticket}"):
        async with connect(f"{server.ws_url}/v1/events{query}"):
            pass


async def test_keys_and_tickets_are_not_logged(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    shown, key = new_key(
        *("a", [Scope.ADMIN], Limits(max_sessions=1, requests_per_s=100, max_stored_bytes=1)),
        created_at=datetime.now(UTC),
    )
    store = open_store(f"sqlite://{data_dir}/cake.db")
    await store.keys.create(key)
    await store.close()
    async with child_server(data_dir, environ={"CAKE_LOG_LEVEL": "DEBUG"}) as child:
        async with httpx.AsyncClient(base_url=child.url, headers=bearer(shown), timeout=120) as client:
            ticket = (await client.post("/v1/tickets")).json()["ticket"]
        url = f"{child.url.replace('http', 'ws', 1)}/v1/events"
        async with connect(f"{url}?after=0&ticket={ticket}"):
            pass
        async with connect(url, additional_headers=bearer(shown)):
            pass
        await refused(f"{url}?ticket={ticket}")
    log = child.log.read_text()
    assert log.count("/v1/events") >= 3
    assert f'"key": "{key.id}"' in log
    assert ticket not in log
    assert shown.split("_", 2)[2] not in log


# Origins


async def test_pages_of_other_sites_cannot_open_a_websocket(server: Running) -> None:
    url = f"{server.ws_url}/v1/events"
    for origin in ("https://evil.example", "null", "http://[", "http://127.0.0.1", f"{server.url}.evil.example"):
        problem(await refused(url, origin=origin), 403, "origin_forbidden")
    for origin in (server.url, "https://partner.example", "https://other.example"):
        async with connect(url, origin=Origin(origin)):
            pass


async def test_pages_of_other_sites_cannot_submit_without_authentication(server: Running) -> None:
    for origin, status in (("https://evil.example", 403), (server.url, 202)):
        files = {"file": b"video"}
        answer = await server.http.post("/v1/sessions", files=files, headers={"Origin": origin})
        assert answer.status_code == status
    assert (await server.http.get("/v1/sessions", headers={"Origin": "https://evil.example"})).status_code == 200


async def test_a_rebound_host_name_is_rejected_without_authentication(server: Running) -> None:
    hosts = {"evil.example": 403, "evil.example:8000": 403, "[": 403, "": 403, "localhost:8000": 200, "[::1]:8000": 200}
    for host, status in hosts.items():
        assert (await server.http.get("/v1/sessions", headers={"Host": host})).status_code == status, host
        assert (await server.http.get("/livez", headers={"Host": host})).status_code == 200, host
    key = await make_key(server, "sessions:read")
    named = {**bearer(key), "Host": "cake.example"}
    assert (await server.http.get("/v1/sessions", headers=named)).status_code == 200


async def test_without_authentication_only_known_host_names_are_answered(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data", auth="off", allowed_hosts="Cake.Example,api") as server:
        hosts = {
            "evil.example": 403,
            "": 403,
            "cake.example": 200,
            "API:8000": 200,
            "localhost": 200,
            "10.1.2.3:80": 200,
            "[::1]:8000": 200,
            "[::1].evil.example": 403,
            "localhost:80:80": 403,
            "localhost@evil.example": 403,
        }
        for host, status in hosts.items():
            answer = await server.http.get("/v1/sessions", headers={"Host": host})
            assert answer.status_code == status, host
            assert (await server.http.get("/livez", headers={"Host": host})).status_code == 200
        origin = {"Host": "evil.example", "Origin": "http://evil.example"}
        refused_ = await server.http.post("/v1/sessions", json={"source": {"push": True}}, headers=origin)
        problem(refused_, 403, "host_forbidden")


async def test_configured_host_names_also_apply_with_keys(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data", auth="required", allowed_hosts="cake.example") as server:
        headers = bearer(await make_key(server, "sessions:read"))
        for host, status in (("other.example", 403), ("cake.example", 200)):
            answer = await server.http.get("/v1/sessions", headers={**headers, "Host": host})
            assert answer.status_code == status


async def test_a_client_of_another_machine_needs_a_key_under_any_host_name(server: Running) -> None:
    # The server trusts the proxy on 127.0.0.1 to name its client.
    remote = {"Host": "localhost", "X-Forwarded-For": "203.0.113.9"}
    problem(await server.http.get("/v1/sessions", headers=remote), 403, "origin_forbidden")
    local = {"Host": "localhost", "X-Forwarded-For": "::ffff:127.0.0.1"}
    assert (await server.http.get("/v1/sessions", headers=local)).status_code == 200


async def test_on_a_public_address_a_key_is_required_even_if_all_keys_are_lost(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data", host="0.0.0.0") as server:
        key = await make_key(server, "sessions:read", "events:read")
        assert (await server.http.get("/v1/sessions", headers=bearer(key))).status_code == 200
        database = sqlite3.connect(server.settings.data_dir / "cake.db", isolation_level=None)
        database.execute("DELETE FROM keys")
        database.close()
        problem(await server.http.get("/v1/sessions", headers={"Host": "localhost"}), 401, "unauthorized")


# Headers


async def test_every_response_has_security_headers(server: Running) -> None:
    await make_key(server, "admin")
    for path in ("/", "/static/app.js", "/livez", "/v1/sessions", "/nothing", "/docs"):
        headers = (await server.http.get(path)).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


async def test_the_page_and_its_scripts_are_revalidated_on_each_load(server: Running) -> None:
    for path in ("/", "/static/app.js", "/static/style.css"):
        first = await server.http.get(path)
        assert first.headers["cache-control"] == "no-cache"
        again = await server.http.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert again.headers["cache-control"] == "no-cache"
