"""Runs the application with uvicorn, and stops within seconds even while clients are connected."""

import asyncio
import signal
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI

from service.access.keys import Limits, new_key
from service.access.scopes import Scope
from service.api.app import create_app
from service.api.context import Context
from service.api.embedded_worker import EmbeddedWorker
from service.api.http_protocol import GuardedProtocol
from service.api.model_catalogue import loaded_models
from service.api.peer import BehindProxies
from service.api.websocket_protocol import RejectingProtocol
from service.errors import ServiceError
from service.listening import is_loopback, raise_open_file_limit
from service.observability.tracing import configure_tracing
from service.settings import Settings

GRACE_S = 2
START_POLL_S, READY_POLL_S = 0.02, 0.2
OWN_KEY_ID = "0" * 16
"""Owner of the sessions that servers submit themselves, in every run."""
_log = structlog.get_logger(__name__)
_UNLIMITED = Limits(max_sessions=2**63, requests_per_s=1e9, max_stored_bytes=2**63)


class Server(uvicorn.Server):
    """`await Server(settings).serve(sockets=[listener])` until SIGTERM, SIGINT or `should_exit`.

    `own_key` lets this process use its own API. It is never stored and is valid for the life of the process.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises TracingUnavailableError."""
        _log.debug("raised the limit of open files", limit=raise_open_file_limit())
        if settings.traces:
            configure_tracing("cake-server")
        self.own_key, known = new_key(
            "this server",
            [Scope.SESSIONS_READ, Scope.SESSIONS_WRITE, Scope.EVENTS_READ],
            _UNLIMITED,
            created_at=datetime.now(UTC),
            key_id=OWN_KEY_ID,
        )
        self._settings = settings
        self._companion: asyncio.Task[None] | None = None
        self._app: FastAPI = create_app(settings, known, lambda: len(self.server_state.connections))
        super().__init__(
            uvicorn.Config(
                BehindProxies(self._app, [str(network) for network in settings.trusted_proxies]),
                http=GuardedProtocol,
                ws=RejectingProtocol,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws_max_size=64 * 1024,
                ws_per_message_deflate=False,
                # Uvicorn only passes it on to the event loop, which accepts fractions.
                timeout_keep_alive=settings.keep_alive_s,  # type: ignore[arg-type]
                timeout_graceful_shutdown=GRACE_S,
            )
        )

    async def serve(
        self,
        sockets: list[socket.socket] | None = None,
        companion: asyncio.Task[None] | None = None,
        workers: Mapping[int, EmbeddedWorker] | None = None,
    ) -> None:
        """Serve on `sockets` until stopped. If other machines can connect, CAKE_AUTH=auto means `required`.

        `companion` uses the server; it is cancelled and awaited when the server is to exit, while it still works.
        `workers` are those that run already, by slot.
        """
        self._companion = companion
        self._app.state.first_workers = workers or {}
        is_exposed = not all(map(is_loopback, sockets or []))
        if self._app.state.auth == "auto" and (is_exposed or self._settings.identifies_people):
            # Otherwise the loss of all keys, for example with the data of Redis, would open the server to everyone.
            self._app.state.auth = "required"
        await super().serve(sockets)

    @property
    def failed(self) -> bool:
        """Whether the server stopped because a background task failed."""
        return bool(self._app.state.failed)

    async def until_started(self) -> None:
        """Return once the server accepts connections."""
        while not self.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(START_POLL_S)

    async def until_ready(self) -> None:
        """Return once a worker has loaded its models. Await `until_started` first."""
        context: Context = self._app.state.context
        while True:
            try:
                await loaded_models(context.store)
                return
            except ServiceError:
                await asyncio.sleep(READY_POLL_S)

    async def main_loop(self) -> None:
        """Run until the server is to exit, and then end what uses it."""
        await super().main_loop()
        if self._companion is not None:
            # Its next request would find the store closed.
            self._companion.cancel()
            await asyncio.wait([self._companion])
        # Event streams would otherwise never end.
        self._app.state.context.feed.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Exit on the first signal; do not wait for open connections after a second Ctrl-C."""
        # Uvicorn's own handler would raise the signal again after an orderly exit.
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
