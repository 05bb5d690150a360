"""The edge: every failure becomes problem+json here, and only here."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from service.errors import (
    InvalidRequest,
    MissingScope,
    NotFound,
    OriginForbidden,
    RequestTimeout,
    ServiceError,
    TooLarge,
    Unauthorized,
)
from service.problem import FieldError, ProblemBody, ProblemCode

MEDIA_TYPE = "application/problem+json"
LINGER_S = 5.0
LINGER_BYTES = 64 * 1024**2
ProblemStatus = Literal[401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 500, 503, 507]
ASKS: tuple[ProblemStatus, ...] = (401, 403, 429)
"""What every route may answer that needs an API key."""
_DESCRIPTIONS: Mapping[ProblemStatus, str] = {
    401: "`unauthorized`: no API key, or none that is known",
    403: "`missing_scope` of the key, `origin_forbidden` of the page, or `source_forbidden`: a scheme or address that "
    "this server does not open",
    404: "`not_found`",
    408: "`request_timeout`: nothing of the body came for a minute",
    409: "`idempotency_conflict`: the key was used with another body; `not_a_push`, `push_conflict`, `push_ended`: the "
    "session takes no stream, or not now",
    413: "`too_large`",
    415: "`unsupported_media_type`",
    422: "`invalid_request`, `unknown_model` or `unknown_label`",
    429: "`rate_limited`, `session_limit` or `storage_limit` of the key; see `Retry-After`",
    503: "`over_capacity`, `not_ready` or `store_unavailable`; see `Retry-After`",
    507: "`storage_full`",
}
_EARLY = (Unauthorized, MissingScope, OriginForbidden, RequestTimeout, TooLarge)
"""Raised before the body of a request has come to its end."""
_log = structlog.get_logger(__name__)


class MethodNotAllowed(ServiceError):
    code, status, title = "method_not_allowed", 405, "The method is not allowed here"


class Internal(ServiceError):
    code, status, title = "internal", 500, "The server failed"


def problems(*statuses: ProblemStatus) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI responses of a route that may fail so; 503 is part of every one that asks the store."""
    return {status: {"model": ProblemBody, "description": _DESCRIPTIONS[status]} for status in statuses}


def invalid(errors: RequestValidationError | WebSocketRequestValidationError | ValidationError) -> InvalidRequest:
    """Name the fields at fault, as a caller writes them: `source.url`, `limit`."""
    places = ("query", "path", "header", "body")
    fields = [
        FieldError(
            field=".".join(str(part) for part in error["loc"] if part not in places) or "body",
            message=error["msg"],
        )
        for error in errors.errors()
    ]
    return InvalidRequest("; ".join(f"{error.field}: {error.message}" for error in fields) + ".", errors=fields)


def add_handlers(app: FastAPI) -> None:
    # Starlette's types know handlers of requests or of WebSockets; these are called with either.
    app.add_exception_handler(ServiceError, _on_service_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _on_invalid)  # type: ignore[arg-type]
    app.add_exception_handler(WebSocketRequestValidationError, _on_invalid)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_bug)


async def _on_service_error(connection: HTTPConnection, error: Exception) -> Response | None:
    assert isinstance(error, ServiceError)
    response = _response(connection, error)
    if isinstance(connection, WebSocket):
        await connection.send_denial_response(response)
        return None
    return response


async def _on_invalid(connection: HTTPConnection, error: Exception) -> Response | None:
    assert isinstance(error, RequestValidationError | WebSocketRequestValidationError)
    return await _on_service_error(connection, invalid(error))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """What the framework itself refuses: an unknown path or method."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = _allowed(request, headers.get("Allow", ""))
        response = _response(request, MethodNotAllowed(f"Use another method: {headers['Allow']}."))
    elif error.status_code == 404:
        response = _response(request, NotFound("There is nothing at this path; /docs lists all paths."))
    else:
        response = _response(request, InvalidRequest(f"{error.detail}."))
    response.headers.update(headers)
    return response


def _allowed(request: Request, of_first_route: str) -> str:
    """All methods of a path, of which the framework names those of the first route alone."""
    operations = request.app.openapi()["paths"].get(getattr(request.scope.get("route"), "path", None), {})
    return ", ".join(sorted(method.upper() for method in operations)) or of_first_route


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    _log.info("client went away before its request was complete")
    return Response(status_code=400)


async def _on_bug(request: Request, _error: Exception) -> Response:
    return _response(request, Internal("This is a bug; the server's log says more beside this answer's X-Request-ID."))


def _response(connection: HTTPConnection, error: ServiceError) -> Response:
    code: ProblemCode = error.code
    body = ProblemBody(
        type="about:blank",
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=code,
        instance=connection.url.path,
        errors=error.errors,
        known=error.known,
    )
    is_early = isinstance(error, _EARLY) or getattr(connection.state, "answers_early", False)
    has_body = connection.scope.get("method") in ("POST", "PUT")
    kind = EarlyResponse if has_body and is_early else Response
    response = kind(body.model_dump_json(exclude_none=True), error.status, media_type=MEDIA_TYPE)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


class EarlyResponse(Response):
    """An answer given before the request has come to its end; then the connection closes.

    What still arrives is thrown away for a while: a client that gets a reset while it sends would not see the answer.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers["Connection"] = "close"
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        thrown_away_bytes = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while thrown_away_bytes < LINGER_BYTES:
                    message = await receive()
                    thrown_away_bytes += len(message.get("body", b""))
                    if not message.get("more_body", False):
                        break
        await send({"type": "http.response.body", "body": b"", "more_body": False})
