"""ASGI middleware for clients and proxies: HEAD requests, path prefixes, and proxies that strip WebSocket upgrades."""

from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.error_responses import problem_response
from service.errors import UpgradeRequiredError


class PathPrefix:
    """Serves the application below a path prefix, whether the proxy in front strips the prefix or not."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._prefix and scope["type"] != "lifespan":
            scope["root_path"] = self._prefix
            if not f"{scope['path']}/".startswith(f"{self._prefix}/"):
                scope["path"] = self._prefix + scope["path"]
                scope["raw_path"] = self._prefix.encode() + scope["raw_path"]
        await self._app(scope, receive, send)


class HeadRequests:
    """Answers HEAD wherever GET is allowed: with the status and the headers of GET, and no body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: MutableMapping[str, Any]) -> None:
            # The body of a stream would never end: complete the response after its head and drop the rest.
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})

        # RFC 9110, section 14.2: only GET has ranges.
        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        as_get: Scope = {**scope, "method": "GET", "headers": headers}
        try:
            await self._app(as_get, receive, send_head)
        finally:
            # The router notes what it found there; logs and metrics read it.
            scope.update({key: as_get[key] for key in ("route", "endpoint") if key in as_get})


class StrippedUpgrades:
    """Rejects WebSocket handshakes that arrive as plain HTTP, since a proxy removed their `Upgrade` header."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "sec-websocket-key" in Headers(scope=scope):
            error = UpgradeRequiredError(
                "A proxy removed the headers `Upgrade` and `Connection` of this WebSocket handshake. Configure it to"
                " pass WebSocket upgrades."
            )
            await problem_response(Request(scope), error)(scope, receive, send)
            return
        await self._app(scope, receive, send)
