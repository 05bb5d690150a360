"""The server's side of pushed streams: finds the worker that runs the session, and forwards the client's bytes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from service.background import race
from service.push.protocol import ACCEPTED, END, HEADER, Hello, PushAddress

RETRY_EVERY_S = 0.1
# The most bytes that wait to be forwarded; while it is reached, no more is read from the client.
BUFFER_BYTES = 256 * 1024


class NotWaitingError(Exception):
    """No worker runs the session, or the session is not waiting for a stream."""


class WorkerClosedError(Exception):
    """The session's worker does not accept more of the stream."""


class Push:
    """A connection to the worker of a session, until `aclose`; made by `open_push`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        writer.transport.set_write_buffer_limits(BUFFER_BYTES)

    async def send_all(self, chunks: AsyncIterator[bytes]) -> None:
        """Forward a whole stream, no faster than it is read, and mark its end.

        Raises WorkerClosedError, even while no chunk arrives. An error of `chunks` is raised and interrupts the stream.
        """
        await race(self._send_all(chunks), self._until_closed())

    async def _send_all(self, chunks: AsyncIterator[bytes]) -> None:
        async for chunk in chunks:
            if chunk:
                await self._send(HEADER.pack(len(chunk)) + chunk)
        await self._send(END)

    async def _send(self, data: bytes) -> None:
        if self._writer.is_closing():
            raise WorkerClosedError
        self._writer.write(data)
        try:
            await self._writer.drain()
        except OSError:
            raise WorkerClosedError from None

    async def _until_closed(self) -> None:
        """Wait for the end of the connection; the worker sends nothing else."""
        with suppress(OSError):
            await self._reader.read()
        raise WorkerClosedError

    async def aclose(self) -> None:
        """Return when the worker has received everything, or has closed the connection."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


async def open_push(session_id: str, find_worker: Callable[[], Awaitable[PushAddress | None]], within_s: float) -> Push:
    """Connect to the session's worker. The session may need a moment until it waits for a stream.

    Raises NotWaitingError, and what `find_worker` raises.
    """
    deadline_s = asyncio.get_running_loop().time() + within_s
    while True:
        address = await find_worker()
        push = None if address is None else await _connect(session_id, address)
        if push is not None:
            return push
        if asyncio.get_running_loop().time() >= deadline_s:
            raise NotWaitingError
        await asyncio.sleep(RETRY_EVERY_S)


async def _connect(session_id: str, address: PushAddress) -> Push | None:
    """A connection to the worker; None unless the session waits for a stream."""
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
