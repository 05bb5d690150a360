"""Remembers the address at the other end of a connection before headers of proxies replace it: ASGI middleware."""

from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

PEER = "cake.peer"
"""Where the ASGI scope has the address at the other end of the connection, whatever proxies say about clients."""


class BehindProxies:
    """Takes address and scheme of clients from the headers of trusted proxies, and keeps the address of the peer."""

    def __init__(self, app: ASGIApp, trusted: Sequence[str]) -> None:
        self._app = ProxyHeadersMiddleware(app, trusted_hosts=list(trusted))  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        scope[PEER] = None if client is None else client[0]
        await self._app(scope, receive, send)  # type: ignore[arg-type]
