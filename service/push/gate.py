"""The worker's side of pushed streams: lets a server in, and hands its connection to the session that waits for it."""

import asyncio
import hmac
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from model.container import VideoError
from service.beside import beside
from service.push.wire import ACCEPTED, MAX_HELLO_BYTES, NOT_WAITING, Hello, PushAddress

HELLO_WITHIN_S = 5.0
RETRY_S = 0.5
# Connections that have not said yet for whom they are; further ones wait in the kernel.
MAX_STRANGERS = 64
NOTHING_PUSHED = "Nothing was pushed to this session in time. Submit it again, and push to its `links.ingest`."
_log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_gate(host: str = "127.0.0.1", port: int = 0, *, address: str | None = None) -> AsyncIterator["PushGate"]:
    """A gate for the servers, for as long as the context lasts; they reach it under `address`, by default its host.

    Raises OSError when the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listener:
        listener.setblocking(False)
        gate = PushGate(listener, address or host)
        async with beside(gate.admit_for_ever()):
            yield gate


class PushGate:
    """Made by `open_gate`."""

    def __init__(self, listener: socket.socket, host: str) -> None:
        self._listener = listener
        self.address = PushAddress(host, listener.getsockname()[1], secrets.token_hex(16))
        self._waiting: dict[str, asyncio.Future[socket.socket | None]] = {}
        self._room = asyncio.Semaphore(MAX_STRANGERS)

    async def admit_for_ever(self) -> None:
        """Let servers in that know the key."""
        async with asyncio.TaskGroup() as strangers:
            while True:
                await self._room.acquire()
                strangers.create_task(self._admit(await self._accept()))

    async def _accept(self) -> socket.socket:
        while True:
            try:
                return (await asyncio.get_running_loop().sock_accept(self._listener))[0]
            except OSError as error:
                # This process has as many open files as it may, for now.
                _log.warning("no connection accepted", error=str(error))
                await asyncio.sleep(RETRY_S)

    async def next(self, session_id: str, within_s: float) -> socket.socket:
        """The next stream that is pushed to a session; it is the caller's to close.

        Raises VideoError source_timeout when none comes, or after `give_up`.
        """
        arrival: asyncio.Future[socket.socket | None] = asyncio.get_running_loop().create_future()
        self._waiting[session_id] = arrival
        try:
            await asyncio.wait([arrival], timeout=max(0.0, within_s))
        except asyncio.CancelledError:
            if arrival.done() and (connection := arrival.result()) is not None:
                connection.close()
            raise
        finally:
            del self._waiting[session_id]
        pushed = arrival.result() if arrival.done() else None
        if pushed is None:
            raise VideoError("source_timeout", NOTHING_PUSHED)
        return pushed

    def give_up(self, session_id: str) -> None:
        """Let a session wait no longer."""
        arrival = self._waiting.get(session_id)
        if arrival is not None and not arrival.done():
            arrival.set_result(None)

    async def _admit(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        is_taken = False
        try:
            async with asyncio.timeout(HELLO_WITHIN_S):
                hello = Hello.from_line(await _line(connection))
            if not hmac.compare_digest(hello.key.encode(), self.address.key.encode()):
                raise ValueError("a wrong key")
            is_taken = self._hand_over(connection, hello.session_id)
        except (OSError, TimeoutError, ValueError) as error:
            _log.warning("a stranger at the gate of pushed streams", error=str(error))
        finally:
            self._room.release()
            if not is_taken:
                connection.close()

    def _hand_over(self, connection: socket.socket, session_id: str) -> bool:
        """Whether a session has the connection now. A single byte always finds room in a new connection."""
        arrival = self._waiting.get(session_id)
        if arrival is None or arrival.done():
            connection.send(NOT_WAITING)
            return False
        connection.send(ACCEPTED)
        arrival.set_result(connection)
        return True


async def _line(connection: socket.socket) -> bytes:
    """All that comes up to a line feed: the server says nothing more before it is answered."""
    received = b""
    while not received.endswith(b"\n"):
        chunk = await asyncio.get_running_loop().sock_recv(connection, MAX_HELLO_BYTES)
        received += chunk
        if not chunk or len(received) > MAX_HELLO_BYTES:
            raise ValueError("no hello")
    return received
