"""Authentication of requests by API key or ticket, authorization by scope, and the rate limit of each key."""

import math
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import structlog
from fastapi import Query, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from service.access.keys import ApiKey, digest, parse_key
from service.access.scopes import Scope
from service.api.caller import Caller
from service.api.context import Context, SharedContext
from service.api.error_responses import reject_unknown_query
from service.api.origin import check_host_header, check_local, check_origin
from service.errors import MissingScopeError, RateLimitError, ServiceError, StoreUnavailableError, UnauthorizedError


class _Bearer(SecurityBase):
    """Declares the key in OpenAPI. Unlike FastAPI's own class it also serves WebSocket handshakes."""

    model = HTTPBearer(
        description="An API key, created with `cake keys create`. Not required while authentication is off."
    )
    scheme_name = "ApiKey"

    async def __call__(self, connection: HTTPConnection) -> str | None:
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else None


async def get_caller(
    connection: HTTPConnection,
    context: SharedContext,
    needed: SecurityScopes,
    token: Annotated[str | None, Security(_Bearer())],
) -> Caller:
    """Authenticate and authorize a request, and count it.

    Raises OriginForbiddenError, HostForbiddenError, UnauthorizedError, RateLimitError, MissingScopeError and
    InvalidRequestError.
    """
    return await _admit(connection, context, needed, token)


async def get_viewer(
    connection: HTTPConnection,
    context: SharedContext,
    needed: SecurityScopes,
    token: Annotated[str | None, Security(_Bearer())],
    ticket: Annotated[
        str | None, Query(description="A ticket of `POST /v1/sessions/{session_id}/video/tickets`, for players.")
    ] = None,
) -> Caller:
    """Like `get_caller`, for the video of the session in the path: also accepts a ticket for this video."""
    session_id = connection.path_params["session_id"]
    return await _admit(connection, context, needed, token, ticket and video_digest(session_id, ticket))


async def caller_if_known(connection: HTTPConnection, context: Context) -> Caller:
    """The caller of a request that needs no scope. Raises UnauthorizedError, and what `get_caller` raises."""
    return await _admit(connection, context, SecurityScopes(), await _Bearer()(connection))


async def _admit(
    connection: HTTPConnection,
    context: Context,
    needed: SecurityScopes,
    token: str | None,
    video_ticket: str | None = None,
) -> Caller:
    """`video_ticket` is the digest of a ticket for the requested video."""
    check_origin(connection, context.settings.allowed_origins)
    if context.settings.allowed_hosts:
        check_host_header(connection, context.settings.allowed_hosts)
    address = "" if connection.client is None else connection.client.host
    caller = replace(await _identify(connection, context, token, video_ticket), address=address)
    if caller.key is not None:
        structlog.contextvars.bind_contextvars(key=caller.key.id)
        _limit_rate(connection, context, caller.key)
    for scope in needed.scopes:
        if not caller.may(scope):
            raise MissingScopeError(f"This operation requires the scope `{scope}`. Use a key that has it.")
    reject_unknown_query(connection)
    return caller


async def get_metrics_reader(
    connection: HTTPConnection,
    context: SharedContext,
    needed: SecurityScopes,
    token: Annotated[str | None, Security(_Bearer())],
) -> Caller:
    """Like `get_caller`. While the store is unavailable, keys that read metrics recently may still do so.

    The metrics are needed most then: they show that the store is unavailable.
    """
    known_as = digest(token or "")
    try:
        caller = await get_caller(connection, context, needed, token)
    except StoreUnavailableError:
        if known_as not in context.metrics_readers:
            raise
        return Caller(None)
    if token is not None or caller.key is None:
        # What a browser or a proxy adds is not in `known_as`, which would let in everyone without a key.
        context.metrics_readers.append(known_as)
    return caller


async def _identify(
    connection: HTTPConnection, context: Context, token: str | None, video_ticket: str | None
) -> Caller:
    if context.auth == "off":
        check_host_header(connection, context.settings.allowed_hosts)
        return Caller(None)
    if token is not None:
        key = await _known_key(context, token)
        if key is not None:
            return Caller(key)
    elif video_ticket is not None:
        key = await _active_key(context, await context.store.keys.find_ticket(video_ticket, now=datetime.now(UTC)))
        if key is not None:
            return Caller(key)
    elif (ticket := _ticket_of(connection)) is not None:
        key = await _active_key(context, await context.store.keys.redeem_ticket(digest(ticket), now=datetime.now(UTC)))
        if key is not None:
            return Caller(key, by_ticket=connection.scope["type"] != "websocket")
    # A key or ticket that is not valid does not become the authority of the person whose browser sends it.
    sent_other = video_ticket is not None or _ticket_of(connection) is not None or parse_key(token or "") is not None
    if context.people is not None and not sent_other:
        known = await context.people.identify(connection, token)
        if known is not None:
            return Caller(known.key, sign_in=known.sign_in, valid_until=known.valid_until)
    if context.auth == "auto" and not await context.store.keys.exist():
        check_local(connection)
        return Caller(None)
    if token is not None:
        raise UnauthorizedError(
            "The API key is unknown, expired or was revoked. Use another key, or ask the operator for one."
        )
    if video_ticket is not None:
        raise UnauthorizedError(
            "The ticket is unknown, expired or for another video. Get a new one with"
            " `POST /v1/sessions/{session_id}/video/tickets`."
        )
    if _ticket_of(connection) is not None:
        raise UnauthorizedError(
            "The ticket is unknown, expired or already used. Get a new one with `POST /v1/tickets`."
        )
    raise UnauthorizedError(
        "Send an API key as `Authorization: Bearer KEY`. The operator creates keys with `cake keys create`."
    )


async def _active_key(context: Context, key_id: str | None) -> ApiKey | None:
    key = None if key_id is None else await context.store.keys.find(key_id)
    return key if key is not None and key.is_active(datetime.now(UTC)) else None


async def _known_key(context: Context, token: str) -> ApiKey | None:
    sent = parse_key(token)
    if sent is None:
        return None
    key = context.own_key if sent.id == context.own_key.id else await context.store.keys.find(sent.id)
    now = datetime.now(UTC)
    if key is None or not sent.opens(key, now):
        return None
    if key is not context.own_key and context.key_uses.is_due(key.id, time.monotonic()):
        with suppress(ServiceError):
            await context.store.keys.note_used(key.id, now=now)
    return key


def video_digest(session_id: str, ticket: str) -> str:
    """Tickets for videos are stored under another digest than those for streams: neither is accepted in place of the
    other.
    """
    return digest(f"{session_id} {ticket}")


def _ticket_of(connection: HTTPConnection) -> str | None:
    """Only streams accept a ticket: browsers cannot send a header when they open one."""
    is_stream = connection.scope["type"] == "websocket" or (
        connection.scope["method"] == "GET" and "text/event-stream" in connection.headers.get("accept", "")
    )
    return connection.query_params.get("ticket") if is_stream else None


def _limit_rate(connection: HTTPConnection, context: Context, key: ApiKey) -> None:
    allowance = context.limiter.take(key.id, key.limits.requests_per_s, time.monotonic())
    connection.state.rate_limit = allowance
    if allowance.wait_s > 0:
        raise RateLimitError(
            f"The API key may send {key.limits.requests_per_s:g} requests per second. Retry after the time in"
            " `Retry-After`.",
            retry_after_s=math.ceil(allowance.wait_s),
        )


def requires(scope: Scope) -> object:
    """The dependency that returns a caller with this scope."""
    return Security(get_caller, scopes=[scope.value])


SessionsReader = Annotated[Caller, requires(Scope.SESSIONS_READ)]
VideoViewer = Annotated[Caller, Security(get_viewer, scopes=[Scope.SESSIONS_READ.value])]
SessionsWriter = Annotated[Caller, requires(Scope.SESSIONS_WRITE)]
Administrator = Annotated[Caller, requires(Scope.ADMIN)]
EventsReader = Annotated[Caller, requires(Scope.EVENTS_READ)]
TicketParameter = Annotated[
    str | None,
    Query(alias="ticket", description="A ticket of `POST /v1/tickets`, for streams that browsers open."),
]
SessionMetricsReader = Annotated[Caller, requires(Scope.METRICS_SESSIONS)]
MetricsReader = Annotated[Caller, Security(get_metrics_reader, scopes=[Scope.METRICS_READ.value])]
