"""Helpers for the tests of events over HTTP."""

import asyncio
import itertools
import json
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.support.running_server import Running


def times_s(first: int, last: int) -> list[float]:
    """Media times of the frames `first` up to, not including, `last` at ten a second."""
    return [n / 10 for n in range(first, last)]


async def received(socket: ClientConnection, count: int) -> list[dict[str, Any]]:
    """The next messages of the socket."""
    return [json.loads(await socket.recv()) for _ in range(count)]


async def collect(socket: ClientConnection, ids: list[str]) -> None:
    """Append the ids of what comes until the connection ends, in whichever way."""
    with suppress(ConnectionClosed):
        while True:
            ids.append(json.loads(await socket.recv())["id"])


async def followers_become(server: Running, transport: str, count: int) -> None:
    """Wait until so many clients follow events: a server notices a client that vanished a moment later."""
    async with asyncio.timeout(60):
        for _ in itertools.count():
            lines = (await server.http.get("/metrics")).text.splitlines()
            if f'cake_event_followers{{transport="{transport}"}} {count}.0' in lines:
                return
            await asyncio.sleep(0.02)


async def all_ids(server: Running, session_id: str) -> list[str]:
    return [event.id for event in await server.worker.store.log.read_events(session_id, limit=10_000)]
