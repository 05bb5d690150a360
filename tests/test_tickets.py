"""How browsers open streams: single-use tickets and the origin of the page; what they are told; what is logged."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from access_kit import bearer, make_key
from api_kit import problem
from running_server import Running, child_server, running_server
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from service.access.keys import Limits, digest, new_key
from service.access.scopes import Scope
from service.schemas import Ticket
from service.store import open_store

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


async def test_a_ticket_opens_one_websocket_with_what_its_key_sees(server: Running) -> None:
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


async def test_a_ticket_opens_nothing_but_streams(server: Running) -> None:
    key = await make_key(server, "admin")
    for path in ("/v1/sessions", "/v1/sessions/x/events", "/metrics"):
        params = {"ticket": await ticket_for(server, key)}
        problem(await server.http.get(path, params=params), 401, "unauthorized")
    params = {"ticket": await ticket_for(server, key)}
    problem(await server.http.get("/v1/sessions", params=params, headers=SSE), 403, "missing_scope")
    body = {"source": {"url": "http://a/b"}}
    problem(await server.http.post("/v1/sessions", params=params, headers=SSE, json=body), 401, "unauthorized")


async def test_a_ticket_of_one_server_is_redeemed_by_another_of_the_same_store(server: Running, tmp_path: Path) -> None:
    store_url = server.settings.resolved_store_url
    async with running_server(tmp_path / "replica", store_url=store_url) as replica, AsyncExitStack() as sockets:
        key = await make_key(server, "events:read")
        ticket = await ticket_for(server, key)
        await sockets.enter_async_context(connect(f"{replica.ws_url}/v1/events?ticket={ticket}"))
        problem(await refused(f"{server.ws_url}/v1/events?ticket={ticket}"), 401, "unauthorized")


async def test_an_expired_or_made_up_ticket_and_one_of_a_revoked_key_are_refused(server: Running) -> None:
    key = await make_key(server, "events:read", name="gone")
    store = server.worker.store
    (record,) = await store.list_keys()
    now = datetime.now(UTC)
    await store.add_ticket(digest("late"), record.id, now=now, expires_at=now)
    url = f"{server.ws_url}/v1/events?ticket="
    revoked = await ticket_for(server, key)
    await store.revoke_key("gone", now=now)
    for ticket in ("late", "made-up", "", revoked):
        problem(await refused(url + ticket), 401, "unauthorized")


async def test_while_keys_are_off_tickets_are_given_and_not_needed(server: Running) -> None:
    ticket = Ticket.model_validate((await server.http.post("/v1/tickets")).json()).ticket
    for query in ("", f"?ticket={ticket}", f"?ticket={ticket}"):
        async with connect(f"{server.ws_url}/v1/events{query}"):
            pass


async def test_no_key_and_no_ticket_reaches_the_log(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    shown, key = new_key(
        *("a", [Scope.ADMIN], Limits(max_sessions=1, requests_per_s=100, max_stored_bytes=1)),
        created_at=datetime.now(UTC),
    )
    store = open_store(f"sqlite://{data_dir}/cake.db")
    await store.create_key(key)
    await store.close()
    async with child_server(data_dir, environ={"CAKE_LOG_LEVEL": "DEBUG"}) as child:
        async with httpx.AsyncClient(base_url=child.url, headers=bearer(shown)) as client:
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


async def test_pages_of_other_sites_open_no_websocket(server: Running) -> None:
    url = f"{server.ws_url}/v1/events"
    for origin in ("https://evil.example", "null", "http://[", "http://127.0.0.1", f"{server.url}.evil.example"):
        problem(await refused(url, origin=origin), 403, "origin_forbidden")
    for origin in (server.url, "https://partner.example", "https://other.example"):
        async with connect(url, origin=Origin(origin)):
            pass


async def test_pages_of_other_sites_submit_nothing_while_keys_are_off(server: Running) -> None:
    for origin, status in (("https://evil.example", 403), (server.url, 202)):
        files = {"file": b"video"}
        answer = await server.http.post("/v1/sessions", files=files, headers={"Origin": origin})
        assert answer.status_code == status
    assert (await server.http.get("/v1/sessions", headers={"Origin": "https://evil.example"})).status_code == 200


async def test_a_name_made_to_lead_here_is_not_answered_while_keys_are_off(server: Running) -> None:
    hosts = {"evil.example": 403, "evil.example:8000": 403, "[": 403, "": 403, "localhost:8000": 200, "[::1]:8000": 200}
    for host, status in hosts.items():
        assert (await server.http.get("/v1/sessions", headers={"Host": host})).status_code == status, host
        assert (await server.http.get("/livez", headers={"Host": host})).status_code == 200, host
    key = await make_key(server, "sessions:read")
    named = {**bearer(key), "Host": "cake.example"}
    assert (await server.http.get("/v1/sessions", headers=named)).status_code == 200


# Headers


async def test_every_answer_tells_browsers_what_they_may_do(server: Running) -> None:
    await make_key(server, "admin")
    for path in ("/", "/static/app.js", "/livez", "/v1/sessions", "/nothing", "/docs"):
        headers = (await server.http.get(path)).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


async def test_the_page_and_its_scripts_are_asked_about_each_time(server: Running) -> None:
    for path in ("/", "/static/app.js", "/static/style.css"):
        first = await server.http.get(path)
        assert first.headers["cache-control"] == "no-cache"
        again = await server.http.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert again.headers["cache-control"] == "no-cache"
