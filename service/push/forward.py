"""The server's side of pushed streams: finds the worker that has the session, and passes on what the client sends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from service.first_of import first_of
from service.push.wire import ACCEPTED, END, HEADER, Hello, PushAddress

LOOK_EVERY_S = 0.1
# What is not passed on yet; a client that sends more is not read meanwhile.
BUFFER_BYTES = 256 * 1024


class NotWaiting(Exception):
    """No worker has the session, or it does not wait for a stream."""


class WorkerClosed(Exception):
    """The session's worker takes no more of the stream."""


class Push:
    """A connection to the worker of a session, until `aclose`; made by `open_push`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        writer.transport.set_write_buffer_limits(BUFFER_BYTES)

    async def send_all(self, chunks: AsyncIterator[bytes]) -> None:
        """Pass on a whole stream, no faster than it is read, and tell that it came to its end.

        Raises WorkerClosed, also while no chunk comes, and what `chunks` raises: then the stream broke off.
        """
        await first_of(self._send_all(chunks), self._until_closed())

    async def _send_all(self, chunks: AsyncIterator[bytes]) -> None:
        async for chunk in chunks:
            if chunk:
                await self._send(HEADER.pack(len(chunk)) + chunk)
        await self._send(END)

    async def _send(self, data: bytes) -> None:
        if self._writer.is_closing():
            raise WorkerClosed
        self._writer.write(data)
        try:
            await self._writer.drain()
        except OSError:
            raise WorkerClosed from None

    async def _until_closed(self) -> None:
        """The worker says nothing more: what comes is the end of the connection."""
        with suppress(OSError):
            await self._reader.read()
        raise WorkerClosed

    async def aclose(self) -> None:
        """Returns when the worker has taken what was sent, or has gone."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


async def open_push(session_id: str, find_worker: Callable[[], Awaitable[PushAddress | None]], within_s: float) -> Push:
    """Reach the session, which may need a moment until a worker has it and it waits.

    Raises NotWaiting, and what `find_worker` raises.
    """
    deadline_s = asyncio.get_running_loop().time() + within_s
    while True:
        address = await find_worker()
        push = None if address is None else await _ask(session_id, address)
        if push is not None:
            return push
        if asyncio.get_running_loop().time() >= deadline_s:
            raise NotWaiting
        await asyncio.sleep(LOOK_EVERY_S)


async def _ask(session_id: str, address: PushAddress) -> Push | None:
    """None unless the session waits for a stream."""
    try:
        reader, writer = await asyncio.open_connection(address.host, address.port)
    except OSError:
        return None
    try:
        if not writer.is_closing():
            writer.write(Hello(session_id, address.key).to_line())
        answer = await reader.read(1)
    except OSError:
        answer = b""
    if answer == ACCEPTED:
        return Push(reader, writer)
    writer.close()
    return None
