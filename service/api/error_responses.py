"""Turns every failure of a request into an `application/problem+json` response (RFC 9457)."""

import asyncio
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Literal

import structlog
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from service.errors import (
    HostForbiddenError,
    InternalError,
    InvalidRequestError,
    MethodNotAllowedError,
    MissingScopeError,
    NotFoundError,
    OriginForbiddenError,
    OverCapacityError,
    RangeNotSatisfiableError,
    RequestTimeoutError,
    ServiceError,
    SessionLimitError,
    StorageFullError,
    StorageLimitError,
    TooLargeError,
    UnauthorizedError,
)
from service.problems import FieldError, ProblemBody
from service.validation_messages import explain_validation_error

MEDIA_TYPE = "application/problem+json"
LINGER_S, LINGER_SILENCE_S = 30.0, 5.0
LINGER_BYTES = 64 * 1024**2
ProblemStatus = Literal[401, 403, 404, 405, 408, 409, 413, 415, 416, 422, 429, 500, 503, 507]
AUTH_STATUSES: tuple[ProblemStatus, ...] = (401, 403, 429)
"""Possible responses of every route that requires an API key."""
_DESCRIPTIONS: Mapping[ProblemStatus, str] = {
    401: "`unauthorized`: no API key, or an unknown one",
    403: "`missing_scope`: the key lacks a scope; `no_role`: the person's groups have no role; "
    "`origin_forbidden` or `host_forbidden`: the web page's origin or "
    "the host name is not allowed; "
    "`source_forbidden` or `webhook_forbidden`: the server does not open this scheme or address",
    404: "`not_found`; without a clip, `clip_pending` (see `Retry-After`), `clip_not_kept` or `clip_lost`",
    408: "`request_timeout`: the body stopped arriving, or arrived too slowly",
    409: "`idempotency_conflict`: the idempotency key was used with a different body; `not_a_push`, `push_conflict` or "
    "`push_ended`: the session accepts no stream, or none at present; `session_ended`: it cannot change; "
    "`not_retryable`: it is running, or its source has no URL; `not_playable`: no clip can be made of the video",
    413: "`too_large`",
    415: "`unsupported_media_type`",
    416: "`range_not_satisfiable`: `Content-Range` has the size",
    422: "`invalid_request`, `unknown_model` or `unknown_label`",
    429: "`rate_limited`, `session_limit`, `storage_limit` or `stream_limit`: a limit of the key, see `Retry-After`",
    503: "`over_capacity`, `not_ready`, `identity_unavailable` or `store_unavailable`, see `Retry-After`",
    507: "`storage_full`",
}
_PROBLEM: Mapping[str, Any] = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
"""Refers to the schema by name: FastAPI would build a validator for each response of each route, at every start."""
_EARLY = (
    UnauthorizedError,
    MissingScopeError,
    OriginForbiddenError,
    HostForbiddenError,
    RequestTimeoutError,
    TooLargeError,
    SessionLimitError,
    StorageFullError,
    StorageLimitError,
    OverCapacityError,
)
"""Errors that may be raised before the whole request body has arrived."""
_log = structlog.get_logger(__name__)


def problem_responses(*statuses: ProblemStatus) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses of a route that may fail with these statuses. Every route that uses the store includes 503."""
    return {status: {"description": _DESCRIPTIONS[status], "content": _PROBLEM} for status in statuses}


def invalid_request(
    errors: RequestValidationError | WebSocketRequestValidationError | ValidationError,
) -> InvalidRequestError:
    """Name the invalid fields as the client wrote them: `source.url`, `limit`."""
    places = ("query", "path", "header", "body")
    fields = [
        FieldError(
            field=".".join(str(part) for part in error["loc"] if part not in places) or "body",
            message=explain_validation_error(error),
        )
        for error in errors.errors()
    ]
    return InvalidRequestError("; ".join(f"{error.field}: {error.message}" for error in fields) + ".", errors=fields)


def add_handlers(app: FastAPI) -> None:
    """Have the application answer exceptions with problem details."""
    # Starlette's types know handlers of requests or of WebSockets; these are called with either.
    app.add_exception_handler(ServiceError, _on_service_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _on_invalid)  # type: ignore[arg-type]
    app.add_exception_handler(WebSocketRequestValidationError, _on_invalid)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)


async def _on_service_error(connection: HTTPConnection, error: Exception) -> Response | None:
    assert isinstance(error, ServiceError)
    response = problem_response(connection, error)
    if isinstance(connection, WebSocket):
        await connection.send_denial_response(response)
        return None
    return response


async def _on_invalid(connection: HTTPConnection, error: Exception) -> Response | None:
    assert isinstance(error, RequestValidationError | WebSocketRequestValidationError)
    return await _on_service_error(connection, invalid_request(error))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Unknown paths and methods, which the framework itself rejects."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = _allowed(request, headers.get("Allow", ""))
        response = problem_response(request, MethodNotAllowedError(f"Use one of these methods: {headers['Allow']}."))
    elif error.status_code == 404:
        response = problem_response(request, NotFoundError("This path does not exist. `/docs` lists all paths."))
    else:
        response = problem_response(request, InvalidRequestError(f"{error.detail}."))
    response.headers.update(headers)
    return response


def _allowed(request: Request, of_first_route: str) -> str:
    """All methods of a path. The framework only names those of the first matching route."""
    operations = request.app.openapi()["paths"].get(getattr(request.scope.get("route"), "path", None), {})
    methods = {method.upper() for method in operations} or {*of_first_route.split(", ")}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    _log.info("client disconnected before its request was complete")
    return Response(status_code=400)


def reject_unknown_query(connection: HTTPConnection) -> None:
    """A misspelt parameter must not be ignored. Raises InvalidRequestError."""
    known = set(_query_parameters(connection.scope["route"].dependant))
    prefixes = tuple(name.removesuffix("KEY") for name in known if name.endswith(".KEY"))
    unknown = [name for name in dict.fromkeys(connection.query_params) if name not in known]
    unknown = [name for name in unknown if not name.startswith(prefixes)]
    if unknown:
        accepted = f"Accepted parameters: {', '.join(sorted(known))}." if known else "This path accepts none."
        raise InvalidRequestError(
            f"Unknown query parameter: {', '.join(name[:100] for name in unknown[:10])}. {accepted}",
            errors=[FieldError(field=name[:100], message="unknown query parameter") for name in unknown[:10]],
        )


def _query_parameters(dependant: Dependant) -> Iterator[str]:
    """Names of the query parameters of a route and of what it depends on."""
    yield from (parameter.alias for parameter in dependant.query_params)
    for needed in dependant.dependencies:
        yield from _query_parameters(needed)


class UnexpectedErrors:
    """ASGI middleware, the innermost. Answers unexpected exceptions and raises them again, to be logged.

    Starlette's own handler of exceptions is outside of all middleware: its responses had no `X-Request-ID`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_answered = False

        async def noted_send(message: MutableMapping[str, Any]) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        try:
            await self._app(scope, receive, noted_send)
        except Exception:
            if scope["type"] == "http" and not is_answered:
                bug = "This is a bug. Report it with this response's `X-Request-ID`, which the server's log names."
                await problem_response(Request(scope), InternalError(bug))(scope, receive, send)
            raise


def problem_response(connection: HTTPConnection, error: ServiceError) -> Response:
    """The problem details of `error`, with the headers that belong to its status."""
    body = ProblemBody(
        type="about:blank",
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        instance=connection.url.path,
        errors=error.errors,
        known=error.known,
    )
    may_be_early = isinstance(error, _EARLY) or getattr(connection.state, "answers_early", False)
    awaits_body = connection.scope.get("method") in ("POST", "PUT", "PATCH") and not getattr(
        connection.state, "body_complete", False
    )
    kind = EarlyResponse if may_be_early and awaits_body else Response
    response = kind(body.model_dump_json(exclude_none=True), error.status, media_type=MEDIA_TYPE)
    if error.status == 415:
        # RFC 9110, section 15.5.16.
        response.headers["Accept-Encoding"] = "gzip"
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.status == 426:
        response.headers["Upgrade"] = "websocket"
        response.headers["Connection"] = "Upgrade"
    if isinstance(error, RangeNotSatisfiableError):
        response.headers["Content-Range"] = f"bytes */{error.size_bytes}"
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


class EarlyResponse(Response):
    """A response sent before the whole request has arrived; then the connection closes.

    What still arrives is discarded, within limits: a client whose connection is reset while it sends would not see the
    response.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers["Connection"] = "close"
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        discarded_bytes = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while discarded_bytes < LINGER_BYTES:
                    async with asyncio.timeout(LINGER_SILENCE_S):
                        message = await receive()
                    discarded_bytes += len(message.get("body", b""))
                    if not message.get("more_body", False):
                        break
        await send({"type": "http.response.body", "body": b"", "more_body": False})
