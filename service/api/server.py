"""Run the application with uvicorn: an exit within seconds whoever is connected."""

import signal
from datetime import UTC, datetime
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.access.keys import Limits, new_key
from service.access.scopes import Scope
from service.api.app import create_app
from service.api.http_protocol import GuardedProtocol
from service.settings import Settings
from service.tracing import configure_tracing

GRACE_S = 2
OWN_KEY_ID = "0" * 16
"""Owns what servers submit themselves, in every run."""
_UNLIMITED = Limits(max_sessions=2**63, requests_per_s=1e9, max_stored_bytes=2**63)


class Server(uvicorn.Server):
    """`await Server(settings).serve(sockets=[listener])` until SIGTERM, SIGINT or `should_exit`.

    `own_key` lets this process use its own API; it is never stored and ends with the process.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises TracingUnavailable."""
        if settings.traces:
            configure_tracing("cake-server")
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
