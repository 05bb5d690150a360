"""HTTP clients and proxies as they are: h2c offers, HEAD, kept connections, path prefixes, compressed bodies."""

import asyncio
import json
from asyncio import StreamReader
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from service.settings import Settings
from tests.support.api_kit import problem
from tests.support.running_server import Running, connection, running_server

BODY = json.dumps({"source": {"push": True}}).encode()
JSON = {"Content-Type": "application/json"}
OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAA\r\n"
HEAD = b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


async def response_of(reader: StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    return int(head.split()[1]), await reader.readexactly(length)


LENGTH = b"Content-Length: %d\r\n\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("framing", "framed"),
    [(LENGTH, BODY), (CHUNKED, b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY))],
    ids=["length", "chunked"],
)
@pytest.mark.parametrize("in_one_packet", [True, False])
async def test_an_offer_of_http_2_is_ignored_and_the_body_is_read(
    server: Running, framing: bytes, framed: bytes, in_one_packet: bool
) -> None:
    async with connection(server) as (reader, writer):
        for _ in range(2):
            writer.write(HEAD + OFFER + framing + (framed if in_one_packet else b""))
            if not in_one_packet:
                await writer.drain()
                # A later packet: only after the server has read the head.
                assert await server.http.get("/livez")
                writer.write(framed)
            status, body = await response_of(reader)
            assert (status, json.loads(body)["state"]) == (202, "queued")
        writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + OFFER + b"\r\n")
        assert (await response_of(reader))[0] == 200


async def test_pipelined_requests_with_offers_of_http_2_are_answered(server: Running) -> None:
    request = HEAD + OFFER + LENGTH + BODY
    async with connection(server) as (reader, writer):
        writer.write(request * 3)
        assert [(await response_of(reader))[0] for _ in range(3)] == [202] * 3


@pytest.mark.parametrize("key", [b"", b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"])
async def test_an_offer_of_websocket_with_another_method_than_get_is_answered(server: Running, key: bytes) -> None:
    offer = b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + key
    async with asyncio.timeout(20), connection(server) as (reader, writer):
        for _ in range(2):
            writer.write(HEAD + offer + LENGTH + BODY)
            status, _ = await response_of(reader)
            assert status == (426 if key else 202)


async def test_connections_are_kept_between_requests_for_the_time_that_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.http_protocol.HEAD_WITHIN_S", 0.1)
    async with running_server(tmp_path / "data", keep_alive_s=0.5) as server, connection(server) as (reader, writer):
        writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await response_of(reader))[0] == 200
        # Closed by the keep-alive timeout, without a response: not by the timeout of heads, which is shorter.
        assert await reader.read() == b""
    assert Settings.model_fields["keep_alive_s"].default == 75


async def test_head_is_answered_like_get_without_a_body(server: Running) -> None:
    session = await server.running_session()
    for path in ("/livez", "/readyz", "/metrics", "/v1/models", "/v1/sessions", session.links.self, "/", "/docs"):
        got, head = await server.http.get(path), await server.http.head(path)
        assert (head.status_code, head.content) == (200, b""), path
        assert head.headers["content-type"] == got.headers["content-type"]
    assert (await server.http.head("/v1/sessions/none")).status_code == 404
    stream = await server.http.head(session.links.events, headers={"Accept": "text/event-stream"})
    assert (stream.status_code, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    refused = await server.http.put("/v1/models")
    assert refused.headers["allow"] == "GET, HEAD"
    assert 'method="HEAD",route="/v1/models",status="200"' in (await server.http.get("/metrics")).text


@pytest.mark.parametrize("sent_below", ["", "/cake"], ids=["stripped", "passed on"])
async def test_below_a_path_prefix_links_page_and_description_work(tmp_path: Path, sent_below: str) -> None:
    async with running_server(tmp_path / "data", root_path="/cake") as server:
        submitted = await server.http.post(f"{sent_below}/v1/sessions", content=BODY, headers=JSON)
        links = submitted.json()["links"]
        assert submitted.headers["location"] == links["self"]
        assert all(link.startswith("/cake/v1/sessions/") for link in links.values() if link)
        path = links["self"].removeprefix("/cake")
        assert (await server.http.get(sent_below + path)).json()["links"] == links
        assert (await server.http.get(f"{sent_below}/static/app.js")).status_code == 200
        assert (
            "style-src 'self' 'unsafe-inline'"
            in (await server.http.get(f"{sent_below}/docs")).headers["content-security-policy"]
        )
        description = (await server.http.get(f"{sent_below}/openapi.json")).json()
        assert description["servers"] == [{"url": "/cake"}]
        missing = await server.http.get(f"{sent_below}/v1/sessions/none")
        assert problem(missing, 404, "not_found").instance == "/cake/v1/sessions/none"
        async with connect(f"{server.ws_url}{sent_below}{path}/events") as socket:
            assert '"state":"queued"' in str(await socket.recv())


async def test_no_path_is_redirected(server: Running) -> None:
    description = (await server.http.get("/openapi.json")).json()
    assert description["servers"] == [{"url": "."}]
    for path in ("/v1/sessions/", "/static", "/docs/", "/metrics/"):
        problem(await server.http.get(path, headers={"X-Forwarded-Proto": "https"}), 404, "not_found")


async def test_a_websocket_handshake_without_its_upgrade_header_gets_upgrade_required(server: Running) -> None:
    session = await server.submit()
    for path in ("/v1/events", session.links.events, f"{session.links.self}/stream"):
        refused = await server.http.get(path, headers={"Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "13"})
        assert "proxy" in problem(refused, 426, "upgrade_required").detail
        assert refused.headers["upgrade"] == "websocket"


async def test_rejected_websockets_are_not_logged_as_errors(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        with pytest.raises(InvalidStatus) as raised:
            await connect(f"{server.ws_url}/v1/sessions/unknown/events")
        assert raised.value.response.status_code == 404
    # The server is done with the handshakes before it answers another request of the same client.
    assert (await server.http.get("/livez")).status_code == 200
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_metrics_have_no_series_for_the_times_of_creation(server: Running) -> None:
    assert "_created" not in (await server.http.get("/metrics")).text


async def test_metrics_are_compressed_for_clients_that_accept_it(server: Running) -> None:
    plain = await server.http.get("/metrics", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    compressed = await server.http.get("/metrics", headers={"Accept-Encoding": "gzip"})
    assert compressed.headers["content-encoding"] == "gzip"
    assert int(compressed.headers["content-length"]) < len(plain.content) / 2
    assert "\ncake_store_up 1.0\n" in compressed.text


async def test_a_byte_order_mark_before_json_is_ignored(server: Running) -> None:
    body = b'\xef\xbb\xbf{"source": {"push": true}}'
    headers = {"Content-Type": "application/json"}
    assert (await server.http.post("/v1/sessions", content=body, headers=headers)).status_code == 202
    files: dict[str, Any] = {
        "file": ("v.mp4", b"video"),
        "session": (None, b'\xef\xbb\xbf{"pace": "realtime"}', "application/json"),
    }
    submitted = await server.http.post("/v1/sessions", files=files)
    assert (submitted.status_code, submitted.json()["pace"]) == (202, "realtime")
