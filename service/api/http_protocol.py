"""Uvicorn's HTTP protocol with bounded request heads, for clients that close early, never send or offer HTTP/2."""

import asyncio
import sys
from asyncio import TimerHandle

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.listening import max_connections

MAX_HEAD_BYTES = 64 * 1024
HEAD_WITHIN_S = 30.0
FIRST_HEAD_WITHIN_S = 1.0
"""Time that a new connection has for its first request before it may have to make room for another."""
REST_WITHIN_S = 30.0
"""Time for the rest of a body that the response did not wait for. It is discarded."""


class GuardedProtocol(HttpToolsProtocol):
    """Bounds the head of a request in time and in size, and what follows an early response in time, which uvicorn's own
    protocol does not.

    It lets the application read a body that has arrived completely although the client has closed the connection, as
    FFmpeg does: uvicorn's own protocol discards what was not read by then. And it ignores offers of other protocols,
    such as `Upgrade: h2c`, after which uvicorn's own protocol loses the body.
    """

    _head_due: TimerHandle | None = None
    """Deadline of the head, while one is expected."""
    _head_bytes = 0
    _head_begun = False
    """Whether part of a head has arrived."""
    _made_s = 0.0
    """When the connection was made, by the event loop's clock."""
    _takes_body = False
    _rest_due: TimerHandle | None = None
    """Deadline of a body that is discarded, as its request was answered before it ended."""
    _upgraded = False
    _received = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._made_s = self.loop.time()
        self._await_head()
        if len(self.connections) > max_connections():
            self._close_an_idle_connection()

    def data_received(self, data: bytes) -> None:
        self._received = data
        super().data_received(data)
        if self._head_due is None and self._is_idle():
            # Between requests the keep-alive timeout applies, until the next head begins.
            self._await_head()
        if self._head_due is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(b"431 Request Header Fields Too Large")

    def _unsupported_upgrade_warning(self) -> None:
        """Uvicorn's parser stopped after a head that offers another protocol: parse the request without the offer.

        A server may ignore the offer (RFC 9110, section 7.8). Clients such as Java's send `Upgrade: h2c` by default.
        """
        error = sys.exception() if sys.version_info >= (3, 12) else sys.exc_info()[1]
        if not isinstance(error, httptools.HttpParserUpgrade) or self.scope["method"] == "CONNECT":
            return
        head = [f"{self.scope['method']} ".encode(), self.url, f" HTTP/{self.parser.get_http_version()}\r\n".encode()]
        for name, value in self.headers:
            if name != b"upgrade":
                head += [name, b": ", value, b"\r\n"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._received = b"".join([*head, b"\r\n", self._received[error.args[0] :]])
        super().data_received(self._received)

    def _should_upgrade(self) -> bool:
        """Only GET opens a WebSocket (RFC 6455, section 4.1): uvicorn never answers an offer with another method."""
        return bool(self.parser.get_method() == b"GET" and super()._should_upgrade())

    def handle_websocket_upgrade(self) -> None:
        self._upgraded = True
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_begun = True

    def on_headers_complete(self) -> None:
        self._forget_head()
        self._head_begun = False
        if self._ignores_offer():
            self.scope["method"] = self.parser.get_method().decode("ascii")
            return
        self._takes_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self._ignores_offer():
            return
        super().on_message_complete()
        self._takes_body = False
        self._forget_rest()

    def _ignores_offer(self) -> bool:
        """Whether the request offers a protocol other than WebSocket; it is then parsed again without the offer."""
        return self.parser.should_upgrade() and not self._should_upgrade() and self.parser.get_method() != b"CONNECT"

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._head_begun and self._is_idle():
            self._await_head()
        if self._takes_body and self.cycle is not None and self.cycle.response_complete:
            self._rest_due = self.loop.call_later(REST_WITHIN_S, self.transport.close)

    def _is_idle(self) -> bool:
        """Whether the connection is open and no request is being received or answered."""
        answered = self.cycle is None or self.cycle.response_complete
        return answered and not self._takes_body and not self._upgraded and not self.transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        self._forget_rest()
        super().connection_lost(exc)
        cycle = self.cycle
        # While reading is paused, part of the body may still be missing, and a lost connection cannot deliver it.
        if cycle is not None and cycle.body and not cycle.more_body and not self.flow.read_paused:
            cycle.disconnected = False
            cycle.transport = _HungUp()

    def _close_an_idle_connection(self) -> None:
        """Make room for this connection: clients open idle connections again when they need them."""
        for other in self.connections:
            if isinstance(other, GuardedProtocol) and other is not self and other._can_make_room():
                other.transport.close()
                return

    def _can_make_room(self) -> bool:
        """Whether the connection is idle and not so new that its first request may be on its way."""
        had_time = self.cycle is not None or self.loop.time() - self._made_s >= FIRST_HEAD_WITHIN_S
        return had_time and self._is_idle()

    def _await_head(self) -> None:
        self._forget_head()
        self._head_bytes = 0
        self._head_due = self.loop.call_later(HEAD_WITHIN_S, self._refuse, b"408 Request Timeout")

    def _forget_head(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _forget_rest(self) -> None:
        if self._rest_due is not None:
            self._rest_due.cancel()
            self._rest_due = None

    def _refuse(self, status: bytes) -> None:
        self._forget_head()
        self.transport.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        self.transport.close()


class _HungUp(asyncio.Transport):
    """Discards the response."""

    def write(self, _data: bytes | bytearray | memoryview) -> None:
        """Discard the data."""

    def is_closing(self) -> bool:
        return True

    def close(self) -> None:
        """Already closed."""
