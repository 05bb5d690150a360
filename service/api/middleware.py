"""Around every request: an id, a log line and a duration."""

import re
import time
import uuid
from collections.abc import MutableMapping
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from service.telemetry import ApiMetrics
from service.tracing import current_traceparent, hide_query

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = structlog.get_logger(__name__)


class Observe:
    """ASGI middleware. Takes over a caller's `X-Request-ID` when it is harmless, and returns it."""

    def __init__(self, app: ASGIApp, metrics: ApiMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request_id = Headers(scope=scope).get("x-request-id", "")
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = uuid.uuid4().hex
        status = 0
        streamed = False

        async def observed_send(message: MutableMapping[str, Any]) -> None:
            nonlocal status, streamed
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                if (traceparent := current_traceparent()) is not None:
                    headers["traceparent"] = traceparent
                status = message["status"]
                streamed = headers.get("content-type", "").startswith("text/event-stream")
            elif message["type"] == "websocket.accept":
                status, streamed = 101, True
            await send(message)

        if scope.get("query_string"):
            hide_query()
        started_s = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, observed_send)
            finally:
                self._finish(scope, status, time.perf_counter() - started_s, streamed)

    def _finish(self, scope: Scope, status: int, duration_s: float, streamed: bool) -> None:
        # The template of the path, not the path: labels must be few.
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope.get("method", "WEBSOCKET")
        if not streamed:
            self._metrics.request_seconds.labels(_known(method), route, str(status)).observe(duration_s)
        quiet = route in ("/livez", "/readyz", "/metrics")
        _log.log(
            10 if quiet else 20,
            "request",
            method=method,
            path=scope["path"],
            status=status,
            duration_s=round(duration_s, 4),
        )


def _known(method: str) -> str:
    return method if method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "WEBSOCKET") else "other"
