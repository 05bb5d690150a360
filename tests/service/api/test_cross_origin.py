"""Pages of allowed origins use the API from a browser; others do not."""

from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import async_playwright

from service.api import health
from tests.support.access_kit import bearer, make_key
from tests.support.api_kit import problem
from tests.support.cake_command import run
from tests.support.commands import require_chromium
from tests.support.page_driver import CHROMIUM_FLAGS
from tests.support.running_server import Running, running_server
from tests.support.video_server import serve_handler

ORIGIN = "https://app.example.org"
PAGE = {"Origin": ORIGIN}


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "data", allowed_origins=ORIGIN) as it:
        yield it


async def preflight(server: Running, origin: str, path: str = "/v1/sessions") -> httpx.Response:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
        "Access-Control-Request-Private-Network": "true",
    }
    return await server.http.options(path, headers=asked)


async def test_the_preflight_of_an_allowed_origin_is_accepted_without_a_key(server: Running) -> None:
    await make_key(server, "sessions:read")
    answer = await preflight(server, ORIGIN)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "authorization,content-type,idempotency-key"
    assert answer.headers["access-control-allow-private-network"] == "true"
    assert "access-control-allow-credentials" not in answer.headers


async def test_every_response_is_readable_by_the_page_also_when_it_is_an_error(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError

    monkeypatch.setattr(health, "Health", broken)
    key = bearer(await make_key(server, "sessions:read"))
    async with httpx.AsyncClient(base_url=server.url, headers=PAGE, timeout=120) as client:
        answers = [
            await client.get("/v1/sessions", headers=key),
            await client.get("/v1/sessions"),  # 401
            await client.get("/v1/sessions?limit=0", headers=key),  # 422
            await client.get("/nowhere"),  # 404
            await client.put("/v1/sessions"),  # 405
            await client.post("/v1/uploads", content=b"x", headers=key),  # 403
            await client.get("/livez"),  # 500
        ]
    assert [answer.status_code for answer in answers] == [200, 401, 422, 404, 405, 403, 500]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "Origin" in answer.headers["vary"]
        assert "access-control-allow-credentials" not in answer.headers
        assert "Location" in answer.headers["access-control-expose-headers"]
        assert "x-request-id" in answer.headers


async def test_a_page_may_read_every_header_that_the_description_names(server: Running) -> None:
    description = (await server.http.get("/openapi.json", headers=PAGE)).json()
    answer = await server.http.get("/livez", headers=PAGE)
    exposed = {name.lower() for name in answer.headers["access-control-expose-headers"].split(", ")}
    named = {
        name.lower()
        for path in description["paths"].values()
        for operation in path.values()
        for response in operation["responses"].values()
        for name in response.get("headers", {})
    }
    assert {"clip-from-s", "content-range"} <= named
    assert named <= exposed


SUBMIT_AND_FOLLOW = """async ([api, key]) => {
  const headers = {Authorization: `Bearer ${key}`, "Idempotency-Key": "once"};
  const body = new FormData();
  body.append("file", new Blob(["video"]), "a.mp4");
  const submitted = await fetch(`${api}/v1/sessions`, {method: "POST", headers, body});
  const path = submitted.headers.get("Location");
  const {ticket} = await (await fetch(`${api}/v1/tickets`, {method: "POST", headers})).json();
  const first = (target, name) => new Promise((resolve) => { target[name] = (message) => resolve(message.data); });
  const overSse = JSON.parse(await first(new EventSource(`${api}${path}/events?ticket=${ticket}`), "onmessage"));
  const unknown = await fetch(`${api}/v1/sessions/none`, {headers});
  return [submitted.status, overSse.state, (await unknown.json()).code];
}"""


@pytest.mark.slow
async def test_a_page_elsewhere_submits_a_video_and_follows_it(tmp_path: Path) -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Keep the tests' output clean."""

    with serve_handler(Page) as host:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=require_chromium(), args=CHROMIUM_FLAGS)
            page = await browser.new_page()
            await page.goto(f"http://{host}/")
            # After the browser, whose start on a busy machine would outlast the lease of the stand-in for a worker.
            async with running_server(tmp_path / "data", allowed_origins=f"http://{host}") as server:
                key = await make_key(server, "sessions:read", "sessions:write", "events:read")
                assert await page.evaluate(SUBMIT_AND_FOLLOW, [server.url, key]) == [202, "queued", "not_found"]
            await browser.close()


async def test_pages_of_other_origins_can_neither_submit_nor_read(server: Running) -> None:
    refused = await preflight(server, "https://other.example")
    problem(refused, 405, "method_not_allowed")
    page = {"Origin": "https://other.example"}
    answers = [refused, await server.http.get("/v1/sessions", headers=page)]
    answers.append(await server.http.post("/v1/sessions", json={"source": {"push": True}}, headers=page))
    problem(answers[-1], 403, "origin_forbidden")
    assert not any("access-control-allow-origin" in answer.headers for answer in answers)
    assert answers[1].headers["vary"] == "Origin"  # A cache must not give it to a page of the allowed origin.


@pytest.mark.parametrize("origin", ["*", "https://app.example.org/", "app.example.org", "https://App.example.org"])
def test_an_impossible_origin_is_rejected_as_a_setting(origin: str) -> None:
    status, _, err = run("settings", CAKE_ALLOWED_ORIGINS=origin)
    assert status == 2
    assert "is not an origin" in err
