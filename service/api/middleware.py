"""ASGI middleware: the id, log line and duration of every request, and the security headers of every response."""

import logging
import math
import re
import time
import uuid
from collections.abc import MutableMapping
from typing import Any

import structlog
from starlette._utils import get_route_path
from starlette.datastructures import Headers, MutableHeaders
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from service.observability.telemetry import ApiMetrics
from service.observability.tracing import current_traceparent, hide_query

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET"})
# Probes and scrapers request these every few seconds.
_POLLED = frozenset({"/livez", "/readyz", "/readyz/store", "/metrics"})
_EVERYWHERE = "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
# The page fetches clips with its key and plays them from memory.
PAGE_POLICY = f"default-src 'self'; media-src 'self' blob:; {_EVERYWHERE}"
# Swagger UI sets styles in its markup and keeps its icons in the style sheet.
DOCS_POLICY = f"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; {_EVERYWHERE}"
_log = structlog.get_logger(__name__)


class Observe:
    """Logs and measures requests. Adopts the client's `X-Request-ID` if it is well-formed, and returns it."""

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
                if (allowance := scope.get("state", {}).get("rate_limit")) is not None:
                    headers["RateLimit-Limit"] = str(allowance.limit)
                    headers["RateLimit-Remaining"] = str(allowance.remaining)
                    headers["RateLimit-Reset"] = str(math.ceil(allowance.full_in_s))
                status = message["status"]
                streamed = headers.get("content-type", "").startswith("text/event-stream")
            elif message["type"] == "websocket.accept":
                status, streamed = 101, True
            await send(message)

        async def observed_receive() -> MutableMapping[str, Any]:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                scope.setdefault("state", {})["body_complete"] = True
            return message

        if scope.get("query_string"):
            hide_query()
        started_s = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, observed_receive, observed_send)
            finally:
                self._finish(scope, status, time.perf_counter() - started_s, streamed)

    def _finish(self, scope: Scope, status: int, duration_s: float, streamed: bool) -> None:
        method = scope.get("method", "WEBSOCKET")
        known_method = method if method in _METHODS else "other"
        route = _route(scope)
        if not streamed:
            self._metrics.request_seconds.labels(known_method, route, str(status)).observe(duration_s)
        _log.log(
            logging.DEBUG if route in _POLLED else _log_level(status),
            "request",
            method=method,
            path=scope["path"],
            status=status,
            duration_s=round(duration_s, 4),
        )


def _route(scope: Scope) -> str:
    """The template of the path rather than the path itself: a metric's labels must be few."""
    if "route" in scope:
        return str(scope["route"].path)
    if isinstance(scope.get("endpoint"), StaticFiles):
        return "static"
    return str(get_route_path(scope)) if "endpoint" in scope else "unmatched"


def _log_level(status: int) -> int:
    """Status 0: the client disconnected before a response was sent. Other 5xx than 500 are expected under load."""
    if status < 400:
        return logging.DEBUG
    return logging.WARNING if status == 500 else logging.INFO


class BrowserHeaders:
    """Adds the headers that tell a browser what it may do with a response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Before the router, which moves part of the path to `root_path`.
        path = "" if scope["type"] == "lifespan" else get_route_path(scope)

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                _add_browser_headers(MutableHeaders(scope=message), path)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _add_browser_headers(headers: MutableHeaders, path: str) -> None:
    headers["Content-Security-Policy"] = DOCS_POLICY if path == "/docs" else PAGE_POLICY
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    if path in ("/", "/docs") or path.startswith("/static/"):
        # Browsers revalidate their copy each time: a page must not run with the scripts of another version.
        headers["Cache-Control"] = "no-cache"
