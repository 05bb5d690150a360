"""Run the application with uvicorn: an exit within seconds whoever is connected."""

import asyncio
import signal
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.api.app import create_app
from service.settings import Settings

GRACE_S = 3
UNREAD_MS = 30_000
"""A connection whose peer takes nothing for this long is cut by the kernel."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 is a free one. Raises OSError when the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by accepted connections: uvicorn itself waits for ever for a client that stopped reading.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


async def serve(settings: Settings, listener: socket.socket) -> None:
    """Serve on `listener` until SIGTERM or SIGINT."""
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        ws_max_size=64 * 1024,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=GRACE_S,
        server_header=False,
    )
    await _Server(config, app).serve(sockets=[listener])


class _Server(uvicorn.Server):
    """On a signal the followers of events are sent away at once, since their streams would never end."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not passed on to uvicorn, which would raise the signal again after an orderly end.
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True
        if hasattr(self._app.state, "context"):
            self._loop.call_soon_threadsafe(self._app.state.context.feed.close)
