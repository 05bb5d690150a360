"""The server's side of live video: connects to the worker of a session, and reads what it sends to one viewer."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal

from service.live.protocol import ALIVE_EVERY_S, HEADER, MAX_MESSAGE_BYTES
from service.push.protocol import ACCEPTED, TOO_MANY, Hello, PushAddress

CONNECT_WITHIN_S = 5.0
SILENT_S = 3 * ALIVE_EVERY_S
"""A worker that sends nothing for this long is considered gone."""
READ_BYTES = 256 * 1024


class NotRunningError(Exception):
    """The worker does not run the session, cannot be reached, or is too old to send live video."""


class TooManyViewersError(Exception):
    """The session has reached its limit of viewers."""


class WorkerView:
    """A connection to the worker of a session; made by `open_view`."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def messages(self) -> AsyncGenerator[tuple[bytes, bytes], None]:
        """Yield the kind and payload of each message until the worker closes the connection, or is gone."""
        with suppress(TimeoutError, OSError, asyncio.IncompleteReadError):
            while True:
                async with asyncio.timeout(SILENT_S):
                    kind, length = HEADER.unpack(await self._reader.readexactly(HEADER.size))
                    if length > MAX_MESSAGE_BYTES:
                        return
                    payload = await self._reader.readexactly(length)
                yield kind, payload


@asynccontextmanager
async def open_view(
    session_id: str, address: PushAddress, purpose: Literal["video", "scores"]
) -> AsyncIterator[WorkerView]:
    """What a worker sends to a new viewer of a session, for as long as the context lasts.

    Raises NotRunningError, TooManyViewersError.
    """
    try:
        async with asyncio.timeout(CONNECT_WITHIN_S):
            reader, writer = await asyncio.open_connection(address.host, address.port, limit=READ_BYTES)
    except (OSError, TimeoutError):
        raise NotRunningError from None
    try:
        answer = b""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(CONNECT_WITHIN_S):
                writer.write(Hello(session_id, address.key, purpose).to_line())
                answer = await reader.read(1)
        if answer == TOO_MANY:
            raise TooManyViewersError
        if answer != ACCEPTED:
            raise NotRunningError
        yield WorkerView(reader)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
