"""People sign in with a real OpenID Connect provider, and programs send its access tokens."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from service.errors import StoreUnavailableError
from tests.support.access_kit import bearer, make_key
from tests.support.api_kit import problem
from tests.support.identity_provider import Provider, at_provider, identity_provider
from tests.support.running_server import SECRET_URL, Running, running_server

pytestmark = pytest.mark.slow

ROLES = [
    {"groups": ["operators"], "scopes": ["admin"]},
    {"groups": ["guards"], "scopes": ["sessions:read", "sessions:write", "events:read"], "requests_per_s": 1000},
    {"groups": ["machines"], "scopes": ["events:read"]},
]
GUARD, OPERATOR, STRANGER = "ann+guards+night", "olga+operators", "eve+visitors"
VIDEO = {"source": {"url": SECRET_URL}}


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with identity_provider(tmp_path_factory.mktemp("provider")) as running:
        yield running


@pytest_asyncio.fixture
async def server(provider: Provider, tmp_path: Path) -> AsyncIterator[Running]:
    (tmp_path / "roles.json").write_text(json.dumps(ROLES))
    options = provider.settings(tmp_path / "roles.json", tmp_path / "secret")
    async with running_server(tmp_path / "data", **options) as running:
        yield running


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=120) as client:
        yield client


async def came_back(browser: httpx.AsyncClient, server: Running, login: str, view: str = "") -> httpx.Response:
    """The server's response when the provider has sent the browser back."""
    begun = await browser.get(f"{server.url}/sign-in", params={"view": view})
    back = await at_provider(browser, begun.headers["location"], login)
    return await browser.get(back.headers["location"])


def own(server: Running) -> dict[str, str]:
    """The headers that a browser adds to a request of the server's own page."""
    return {"Origin": server.url}


async def identity(browser: httpx.AsyncClient, server: Running) -> dict[str, Any]:
    found: dict[str, Any] = (await browser.get(f"{server.url}/v1/identity")).raise_for_status().json()
    return found


def audited(server: Running) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.settings.audit_path.read_text().splitlines()]


async def test_a_person_signs_in_works_with_the_role_of_their_group_and_signs_out(
    server: Running, browser: httpx.AsyncClient
) -> None:
    assert (await identity(browser, server))["kind"] is None
    problem(await browser.get(f"{server.url}/v1/sessions"), 401, "unauthorized")
    answer = await came_back(browser, server, GUARD, view="#wall")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{server.url}/#wall")
    [cookie] = [line for line in answer.headers.get_list("set-cookie") if line.startswith("cake=")]
    assert {"HttpOnly", "SameSite=lax", "Path=/", "Max-Age=28800"} <= set(cookie.split("; "))
    known = await identity(browser, server)
    assert (known["kind"], known["name"], known["sign_out"]) == ("person", "ann", "sign-out")
    assert known["scopes"] == ["events:read", "sessions:read", "sessions:write"]

    await server.worker.register()
    made = await browser.post(f"{server.url}/v1/sessions", json=VIDEO, headers=own(server))
    assert made.status_code == 202, made.text
    assert (await browser.get(f"{server.url}{made.headers['location']}")).status_code == 200
    problem(await browser.get(f"{server.url}/v1/keys"), 403, "missing_scope")
    assert (await server.worker.store.sessions.get(made.json()["id"])).owner == known["id"]

    out = await browser.post(f"{server.url}/sign-out", headers=own(server))
    url = urlsplit(out.json()["url"])
    assert parse_qs(url.query)["post_logout_redirect_uri"] == [f"{server.url}/"]
    assert (await identity(browser, server))["kind"] is None
    secret = cookie.partition(";")[0].partition("=")[2]
    browser.cookies.set("cake", secret)
    assert (await identity(browser, server))["kind"] is None
    assert [(entry["action"], entry["person"]) for entry in audited(server)] == [
        (action, "ann") for action in ("person.sign_in", "session.submit", "session.view", "person.sign_out")
    ]
    assert secret not in server.settings.audit_path.read_text()


async def test_only_the_servers_own_pages_act_for_a_person(server: Running, browser: httpx.AsyncClient) -> None:
    await came_back(browser, server, GUARD)
    for headers in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        answer = await browser.post(f"{server.url}/v1/sessions", json=VIDEO, headers=headers)
        problem(answer, 403, "origin_forbidden")
    for headers in ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}, {"Origin": "https://evil.example"}):
        problem(await browser.get(f"{server.url}/v1/sessions", headers=headers), 403, "origin_forbidden")
    cookies = {"Cookie": f"cake={browser.cookies['cake']}"}
    for origin in (None, "https://evil.example"):
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{server.ws_url}/v1/events", additional_headers=cookies, origin=origin)  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403
    async with connect(f"{server.ws_url}/v1/events", additional_headers={**cookies, **own(server)}) as socket:
        await server.worker.register()
        made = await browser.post(f"{server.url}/v1/sessions", json=VIDEO, headers=own(server))
        assert json.loads(await socket.recv())["event"]["session_id"] == made.json()["id"]


async def test_an_open_stream_ends_with_the_sign_in(
    server: Running, browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.feed.fanout.HEARTBEAT_S", 0.05)
    monkeypatch.setattr("service.api.reauthorization.RECHECK_EVERY_S", 0.05)
    await came_back(browser, server, GUARD)
    headers = {"Cookie": f"cake={browser.cookies['cake']}", **own(server)}
    async with connect(f"{server.ws_url}/v1/events", additional_headers=headers) as socket:
        await browser.post(f"{server.url}/sign-out", headers=own(server))
        await socket.wait_closed()
        assert socket.close_code == 1008


async def test_an_answer_is_accepted_once_and_from_the_browser_that_asked(
    server: Running, browser: httpx.AsyncClient
) -> None:
    begun = await browser.get(f"{server.url}/sign-in")
    back = (await at_provider(browser, begun.headers["location"], GUARD)).headers["location"]
    failures = [await server.http.get(back)]
    changed = httpx.URL(back).copy_set_param("state", "x" * 43)
    elsewhere = httpx.URL(back).copy_set_param("iss", "https://login.example.org")
    kept = {"cake-attempt": browser.cookies["cake-attempt"]}
    for url in (changed, elsewhere):
        browser.cookies = httpx.Cookies(kept)
        failures.append(await browser.get(url))
    assert [urlsplit(answer.headers["location"]).query for answer in failures] == [
        "sign-in=expired",
        "sign-in=expired",
        "sign-in=rejected",
    ]
    browser.cookies = httpx.Cookies(kept)
    assert (await browser.get(back)).headers["location"] == f"{server.url}/"
    browser.cookies = httpx.Cookies(kept)
    assert (await browser.get(back)).headers["location"] == f"{server.url}/?sign-in=rejected"


async def test_the_way_back_leads_to_no_other_site(server: Running, browser: httpx.AsyncClient) -> None:
    answer = await came_back(browser, server, GUARD, view="//evil.example/#wall")
    assert answer.headers["location"] == f"{server.url}/"


async def test_who_has_no_role_or_was_revoked_is_not_signed_in(server: Running, browser: httpx.AsyncClient) -> None:
    assert (await came_back(browser, server, STRANGER)).headers["location"] == f"{server.url}/?sign-in=no_role"
    assert not await server.worker.store.keys.exist()
    async with httpx.AsyncClient(timeout=120) as guard:
        await came_back(guard, server, GUARD)
        key_id = (await identity(guard, server))["id"]
        admin = bearer(await make_key(server, "admin"))
        await server.http.delete(f"/v1/keys/{key_id}", headers=admin)
        problem(await guard.get(f"{server.url}/v1/sessions"), 401, "unauthorized")
        assert (await came_back(guard, server, GUARD)).headers["location"] == f"{server.url}/?sign-in=revoked"
        assert (await identity(guard, server))["kind"] is None


async def test_an_operator_who_signs_in_manages_keys_but_not_the_roles_of_people(
    server: Running, browser: httpx.AsyncClient
) -> None:
    await came_back(browser, server, OPERATOR)
    body = {"name": "yard", "scopes": ["events:read"]}
    made = await browser.post(f"{server.url}/v1/keys", json=body, headers=own(server))
    assert (await server.http.get("/v1/events", headers=bearer(made.json()["key"]))).status_code == 200
    person, key = (await browser.get(f"{server.url}/v1/keys")).json()["keys"]
    assert (person["kind"], person["name"], person["issuer"]) == ("person", "olga", server.settings.oidc_issuer)
    assert key["kind"] == "key"
    change = await browser.patch(f"{server.url}/v1/keys/{person['id']}", json={"max_sessions": 1}, headers=own(server))
    assert "CAKE_ROLES" in problem(change, 422, "invalid_request").detail
    problem(await server.http.get("/v1/keys", headers=bearer(f"cake_{person['id']}_{'a' * 43}")), 401, "unauthorized")


async def test_a_program_sends_an_access_token_of_the_provider(server: Running, provider: Provider) -> None:
    async with httpx.AsyncClient(timeout=120) as http:
        answer = await http.post(
            f"{provider.issuer}/token", data={"grant_type": "client_credentials"}, auth=("program", "program%27s")
        )
    token = answer.raise_for_status().json()["access_token"]
    assert (await server.http.get("/v1/events", headers=bearer(token))).status_code == 200
    problem(await server.http.get("/v1/sessions", headers=bearer(token)), 403, "missing_scope")
    known = (await server.http.get("/v1/identity", headers=bearer(token))).json()
    assert (known["kind"], known["name"], known["sign_out"]) == ("person", "program", None)
    head, _, signature = token.rpartition(".")
    for forged in (f"{head}.{signature[:-4]}AAAA", f"{head}.", "a.b.c", token * 30):
        problem(await server.http.get("/v1/events", headers=bearer(forged)), 401, "unauthorized")


async def test_without_the_store_only_operators_may_read_metrics(
    server: Running, browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await came_back(browser, server, OPERATOR)
    assert (await browser.get(f"{server.url}/metrics")).status_code == 200

    async def unavailable(*_: object, **__: object) -> None:
        raise StoreUnavailableError("The store does not answer.")

    monkeypatch.setattr("service.store.sqlite.keys.SqliteKeys.find_ticket", unavailable)
    answer = await server.http.get("/metrics", headers={"Cookie": "cake=anything"})
    problem(answer, 503, "store_unavailable")


async def test_with_tls_and_below_a_path_cookies_are_secure_and_the_way_back_is_public(
    provider: Provider, tmp_path: Path
) -> None:
    (tmp_path / "roles.json").write_text(json.dumps(ROLES))
    public = {"public_url": "https://cake.example/cake", "root_path": "/cake"}
    options = {**provider.settings(tmp_path / "roles.json", tmp_path / "secret"), **public}
    async with running_server(tmp_path / "data", **options) as server:
        begun = await server.http.get("/cake/sign-in", headers={"Host": "evil.example"})
    [cookie] = begun.headers.get_list("set-cookie")
    assert cookie.startswith("__Secure-cake-attempt=")
    assert {"Secure", "HttpOnly", "SameSite=lax", "Path=/cake"} <= set(cookie.split("; "))
    asked = parse_qs(urlsplit(begun.headers["location"]).query)
    assert asked["redirect_uri"] == ["https://cake.example/cake/sign-in/return"]
    assert asked["code_challenge_method"] == ["S256"]
