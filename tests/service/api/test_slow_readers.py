"""A client that reads its events byte by byte is disconnected in time and does not delay others."""

import asyncio
import base64
import itertools
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect

from service.api.event_streams import SEND_TIMEOUT_S
from service.listening import UNREAD_MS
from tests.support.events_kit import all_ids, followers_become, received
from tests.support.running_server import running_server

SPEED = 10
"""How much faster everything is than in production: a byte each tenth of a second represents one a second."""
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
}


@asynccontextmanager
async def trickle(url: str, headers: dict[str, str]) -> AsyncIterator[None]:
    """A client that requests a stream and reads it byte by byte, through a small window, during the context."""
    asked, loop = urlsplit(url), asyncio.get_running_loop()
    lines = [f"GET {asked.path} HTTP/1.1", f"Host: {asked.netloc}", *(f"{name}: {headers[name]}" for name in headers)]
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, (asked.hostname, asked.port))
        await loop.sock_sendall(client, "\r\n".join([*lines, "", ""]).encode())

        async def read() -> None:
            for _ in itertools.count():
                assert await loop.sock_recv(client, 1) != b""
                await asyncio.sleep(1 / SPEED)

        reading = asyncio.create_task(read())
        yield
        assert not reading.done()
        reading.cancel()
        await asyncio.wait([reading])


@pytest.mark.parametrize(("transport", "headers"), [("websocket", UPGRADE), ("sse", {"Accept": "text/event-stream"})])
async def test_a_client_that_reads_byte_by_byte_is_disconnected_without_delaying_others(
    transport: str, headers: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.listening.UNREAD_MS", UNREAD_MS // SPEED)
    monkeypatch.setattr("service.api.event_streams.SEND_TIMEOUT_S", SEND_TIMEOUT_S / SPEED)
    async with running_server(tmp_path / "data") as server:
        session = await server.running_session()
        async with trickle(server.url + session.links.events, headers):
            await followers_become(server, transport, 1)
            async with connect(server.ws_url + session.links.events) as quick:
                events = await received(quick, 2)
                for _ in range(100):
                    await server.worker.enter(session.id, "running", detail="x" * 100_000)
                    # Never behind, however slow the machine is.
                    events += await received(quick, 1)
                ids = [event["id"] for event in events]
            await followers_become(server, transport, 0)
        assert ids == await all_ids(server, session.id)
