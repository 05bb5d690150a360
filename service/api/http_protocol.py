"""Uvicorn's HTTP, for clients that hang up as soon as they have sent everything, and for those that never begin."""

import asyncio
from asyncio import TimerHandle

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
HEAD_WITHIN_S = 30.0


class GuardedProtocol(HttpToolsProtocol):
    """Bounds the head of a request, in time and in size, which uvicorn's own does not.

    And it lets the application read a body that has arrived whole, though its client has hung up, as FFmpeg does:
    uvicorn's own throws away what was not read by then.
    """

    _head_due: TimerHandle | None = None
    """While a head is awaited."""
    _head_bytes = 0
    _takes_body = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_due is not None and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(b"431 Request Header Fields Too Large")

    def on_headers_complete(self) -> None:
        self._forget_head()
        self._takes_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._takes_body = False
        if not self.parser.should_upgrade():
            self._await_next()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._await_next()

    def _await_next(self) -> None:
        """Once the answer is given and all of the request has come; the answer may be the earlier of both."""
        if self.cycle.response_complete and not self._takes_body and not self.transport.is_closing():
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        super().connection_lost(exc)
        cycle = self.cycle
        # While reading is paused more of the body may be on its way, which a lost connection cannot bring any more.
        if cycle is not None and cycle.body and not cycle.more_body and not self.flow.read_paused:
            cycle.disconnected = False
            cycle.transport = _HungUp()

    def _await_head(self) -> None:
        self._forget_head()
        self._head_bytes = 0
        self._head_due = self.loop.call_later(HEAD_WITHIN_S, self._refuse, b"408 Request Timeout")

    def _forget_head(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _refuse(self, status: bytes) -> None:
        self._forget_head()
        self.transport.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        self.transport.close()


class _HungUp(asyncio.Transport):
    """Nobody hears the answer."""

    def write(self, _data: bytes | bytearray | memoryview) -> None:
        """Thrown away."""

    def is_closing(self) -> bool:
        return True

    def close(self) -> None:
        """It is closed."""
