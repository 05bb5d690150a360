"""Run the application with uvicorn: an exit within seconds whoever is connected."""

import signal
import socket
from datetime import UTC, datetime
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.access.keys import Limits, new_key
from service.access.scopes import Scope
from service.api.app import create_app
from service.api.http_protocol import GuardedProtocol
from service.settings import Settings

GRACE_S = 2
UNREAD_MS = 30_000
"""A connection whose peer takes nothing for this long is cut by the kernel."""


OWN_KEY_ID = "0" * 16
"""Owns what servers submit themselves, in every run."""
_UNLIMITED = Limits(max_sessions=2**63, requests_per_s=1e9, max_stored_bytes=2**63)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 is a free one. Raises OSError when the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named: only then does asyncio switch Nagle's delay off.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by accepted connections: uvicorn itself waits for ever for a client that stopped reading.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
        # And a peer that vanished without a word is noticed though there is nothing to send to it.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, UNREAD_MS // 1000)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


class Server(uvicorn.Server):
    """`await Server(settings).serve(sockets=[listener])` until SIGTERM, SIGINT or `should_exit`.

    `own_key` lets this process use its own API; it is never stored and ends with the process.
    """

    def __init__(self, settings: Settings) -> None:
        self.own_key, known = new_key(
            "this server",
            [Scope.SESSIONS_READ, Scope.SESSIONS_WRITE],
            _UNLIMITED,
            created_at=datetime.now(UTC),
            key_id=OWN_KEY_ID,
        )
        self._app: FastAPI = create_app(settings, known)
        super().__init__(
            uvicorn.Config(
                self._app,
                http=GuardedProtocol,
                log_config=None,
                access_log=False,
                server_header=False,
                ws_max_size=64 * 1024,
                ws_per_message_deflate=False,
                timeout_graceful_shutdown=GRACE_S,
            )
        )

    async def main_loop(self) -> None:
        await super().main_loop()
        # The streams of those who follow events would never end.
        self._app.state.context.feed.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Uvicorn's own would raise the signal again after an orderly end.
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
