"""The worker's side of pushed streams, live video and clips of missed actions: accepts a server's connection and passes
it to its session.
"""

import asyncio
import hmac
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol

import structlog

from model.video.errors import VideoError
from service.background import background_task
from service.push.protocol import ACCEPTED, MAX_HELLO_BYTES, NOT_WAITING, TOO_MANY, Hello, PushAddress

HELLO_WITHIN_S = 5.0
RETRY_S = 0.5
# Connections that have not sent their hello; further ones wait in the kernel.
MAX_PENDING_HANDSHAKES = 64
NOTHING_PUSHED = "No stream was pushed to this session in time. Submit it again and push to its `links.stream`."
_log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_gate(host: str = "127.0.0.1", port: int = 0, *, address: str | None = None) -> AsyncIterator["PushGate"]:
    """A gate for the lifetime of the context. Servers connect to it at `address`, by default `host`.

    Raises OSError if the address is in use or is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listener:
        listener.setblocking(False)
        gate = PushGate(listener, address or host)
        async with background_task(gate.accept_forever()):
            yield gate


class Admit(Protocol):
    """How a session accepts the connection of a viewer."""

    def __call__(self, connection: socket.socket, *, wants_video: bool) -> bool:
        """Take ownership of the connection; nothing may be sent before this returns. False if there are too many."""


class TakeMissed(Protocol):
    """How a session accepts a request for the clip of a missed action."""

    def __call__(self, connection: socket.socket, missed_id: str) -> bool:
        """Take ownership of the connection; nothing may be sent before this returns. False if there are too many."""


class PushGate:
    """Accepts pushed streams, viewers and requests for clips; made by `open_gate`."""

    def __init__(self, listener: socket.socket, host: str) -> None:
        self._listener = listener
        self.address = PushAddress(host, listener.getsockname()[1], secrets.token_hex(16))
        self._waiting: dict[str, asyncio.Future[socket.socket | None]] = {}
        self._admits: dict[str, Admit] = {}
        self._missed: dict[str, TakeMissed] = {}
        self._handshakes = asyncio.Semaphore(MAX_PENDING_HANDSHAKES)

    async def accept_forever(self) -> None:
        """Accept connections of servers that know the key."""
        async with asyncio.TaskGroup() as handshakes:
            while True:
                await self._handshakes.acquire()
                handshakes.create_task(self._admit(await self._accept()))

    async def _accept(self) -> socket.socket:
        while True:
            try:
                return (await asyncio.get_running_loop().sock_accept(self._listener))[0]
            except OSError as error:
                # This process has reached its limit of open files for now.
                _log.warning("push connection not accepted", error=str(error))
                await asyncio.sleep(RETRY_S)

    async def next(self, session_id: str, within_s: float) -> socket.socket:
        """Wait for the next stream that is pushed to a session; the caller owns the connection.

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

    @contextmanager
    def viewers_of(self, session_id: str, admit: Admit) -> Iterator[None]:
        """Pass viewers of a session on to `admit` for as long as the context lasts."""
        self._admits[session_id] = admit
        try:
            yield
        finally:
            # When a session is claimed again, the new run may begin before the earlier one has ended.
            if self._admits.get(session_id) == admit:
                del self._admits[session_id]

    @contextmanager
    def missed_of(self, session_id: str, take: TakeMissed) -> Iterator[None]:
        """Pass requests for clips of a session's missed actions on to `take` for as long as the context lasts."""
        self._missed[session_id] = take
        try:
            yield
        finally:
            if self._missed.get(session_id) == take:
                del self._missed[session_id]

    def give_up(self, session_id: str) -> None:
        """Stop waiting for a stream for this session."""
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
                raise ValueError("wrong key")
            is_taken = self._hand_over(connection, hello)
        except (OSError, TimeoutError, ValueError) as error:
            _log.warning("push connection rejected", error=str(error) or type(error).__name__)
        finally:
            self._handshakes.release()
            if not is_taken:
                connection.close()

    def _hand_over(self, connection: socket.socket, hello: Hello) -> bool:
        """Whether a session accepted the connection. A single byte always fits the buffer of a new connection."""
        if hello.purpose == "missed":
            take = self._missed.get(hello.session_id)
            is_taken = take is not None and take(connection, hello.missed_id)
            connection.send(ACCEPTED if is_taken else NOT_WAITING if take is None else TOO_MANY)
            return is_taken
        if hello.purpose != "push":
            admit = self._admits.get(hello.session_id)
            is_admitted = admit is not None and admit(connection, wants_video=hello.purpose == "video")
            connection.send(ACCEPTED if is_admitted else NOT_WAITING if admit is None else TOO_MANY)
            return is_admitted
        arrival = self._waiting.get(hello.session_id)
        if arrival is None or arrival.done():
            connection.send(NOT_WAITING)
            return False
        connection.send(ACCEPTED)
        arrival.set_result(connection)
        return True


async def _line(connection: socket.socket) -> bytes:
    """Everything up to a line feed; the server sends nothing else before the reply."""
    received = b""
    while not received.endswith(b"\n"):
        chunk = await asyncio.get_running_loop().sock_recv(connection, MAX_HELLO_BYTES)
        received += chunk
        if not chunk or len(received) > MAX_HELLO_BYTES:
            raise ValueError("no valid hello")
    return received
