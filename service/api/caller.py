"""Who asks: the API key of a request, what it allows, and how often it may ask."""

import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import structlog
from fastapi import Security
from fastapi.openapi.models import HTTPBearer
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from service.access.keys import ApiKey, digest, parse_key
from service.access.scopes import Scope
from service.api.context import Context, SharedContext
from service.api.origin import check_local, check_origin
from service.errors import MissingScope, RateLimited, StoreUnavailable, Unauthorized


@dataclass(frozen=True)
class Caller:
    """`key` is None when keys are off: then everybody may do everything."""

    key: ApiKey | None
    by_ticket: bool = False

    def may(self, scope: str) -> bool:
        if self.key is None:
            return True
        if self.by_ticket and scope not in (Scope.EVENTS_READ, Scope.SESSIONS_WRITE):
            return False
        return scope in self.key.scopes or Scope.ADMIN in self.key.scopes

    @property
    def owner(self) -> str | None:
        """Whose sessions the caller sees; None for those of everybody."""
        return None if self.key is None or Scope.ADMIN in self.key.scopes else self.key.id


class _Bearer(SecurityBase):
    """Tells OpenAPI how the key is sent; unlike FastAPI's own it serves WebSocket handshakes too."""

    model = HTTPBearer(description="An API key, made with `cake keys create`. Not needed while keys are off.")
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
    """Raises OriginForbidden, Unauthorized, MissingScope, RateLimited."""
    check_origin(connection, context.settings.allowed_origins)
    caller = await _identify(connection, context, token)
    if caller.key is not None:
        structlog.contextvars.bind_contextvars(key=caller.key.id)
        _limit_rate(context, caller.key)
    for scope in needed.scopes:
        if not caller.may(scope):
            raise MissingScope(f"This needs the scope `{scope}`; use a key that has it.")
    return caller


async def get_metrics_reader(
    connection: HTTPConnection,
    context: SharedContext,
    needed: SecurityScopes,
    token: Annotated[str | None, Security(_Bearer())],
) -> Caller:
    """As `get_caller`; while the store is away, whoever was let in before is let in: metrics tell that it is away."""
    known_as = digest(token or "")
    try:
        caller = await get_caller(connection, context, needed, token)
    except StoreUnavailable:
        if known_as not in context.metrics_readers:
            raise
        return Caller(None)
    context.metrics_readers.append(known_as)
    return caller


async def _identify(connection: HTTPConnection, context: Context, token: str | None) -> Caller:
    if context.settings.auth == "off":
        return Caller(None)
    if token is not None:
        key = await _known_key(context, token)
        if key is not None:
            return Caller(key)
    elif (ticket := _ticket_of(connection)) is not None:
        key_id = await context.store.redeem_ticket(digest(ticket), now=datetime.now(UTC))
        key = None if key_id is None else await context.store.find_key(key_id)
        if key is not None and key.revoked_at is None:
            return Caller(key, by_ticket=True)
    if context.settings.auth == "auto" and not await context.store.has_keys():
        check_local(connection)
        return Caller(None)
    if token is not None:
        raise Unauthorized("This API key is not known here or was revoked; create one with `cake keys create`.")
    if _ticket_of(connection) is not None:
        raise Unauthorized("This ticket was used, has expired or never was; get a new one from POST /v1/tickets.")
    raise Unauthorized("Send an API key as `Authorization: Bearer …`; `cake keys create` makes one.")


async def _known_key(context: Context, token: str) -> ApiKey | None:
    sent = parse_key(token)
    if sent is None:
        return None
    key = context.own_key if sent.id == context.own_key.id else await context.store.find_key(sent.id)
    return key if key is not None and sent.opens(key) else None


def _ticket_of(connection: HTTPConnection) -> str | None:
    """Only streams take one: browsers cannot send a header when they open them."""
    is_stream = connection.scope["type"] == "websocket" or (
        connection.scope["method"] == "GET" and "text/event-stream" in connection.headers.get("accept", "")
    )
    return connection.query_params.get("ticket") if is_stream else None


def _limit_rate(context: Context, key: ApiKey) -> None:
    wait_s = context.limiter.wait_s(key.id, key.limits.requests_per_s, time.monotonic())
    if wait_s > 0:
        raise RateLimited(
            f"This key may ask {key.limits.requests_per_s:g} times a second; ask again later.",
            retry_after_s=math.ceil(wait_s),
        )


def needs(scope: Scope) -> object:
    """The dependency that gives a caller with this scope."""
    return Security(get_caller, scopes=[scope.value])


SessionsReader = Annotated[Caller, needs(Scope.SESSIONS_READ)]
SessionsWriter = Annotated[Caller, needs(Scope.SESSIONS_WRITE)]
EventsReader = Annotated[Caller, needs(Scope.EVENTS_READ)]
MetricsReader = Annotated[Caller, Security(get_metrics_reader, scopes=[Scope.METRICS_READ.value])]
