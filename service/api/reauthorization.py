"""Whether a caller is still authorized, for requests that take long: streams and uploads."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TypeVar

from service.api.caller import Caller
from service.api.context import Context
from service.errors import NotFoundError, UnauthorizedError

T = TypeVar("T")
RECHECK_EVERY_S = 15.0
"""How often an open stream checks that its key was not revoked."""


class AccessRevokedError(Exception):
    """The key that opened a stream was revoked or sees less, or it was opened without a key and now one is required."""


async def while_authorized(
    messages: AsyncGenerator[T, None], context: Context, caller: Caller, session_id: str | None = None
) -> AsyncGenerator[T, None]:
    """Pass on the messages of a stream, heartbeats included, while its key is valid and sees the session, if one is
    named. Raises AccessRevokedError.
    """
    checked_s = time.monotonic()
    async with aclosing(messages):
        async for batch in messages:
            if time.monotonic() - checked_s >= RECHECK_EVERY_S:
                if not (await is_authorized(context, caller) and await _still_sees(context, caller, session_id)):
                    raise AccessRevokedError
                checked_s = time.monotonic()
            yield batch


async def _still_sees(context: Context, caller: Caller, session_id: str | None) -> bool:
    """Whether the caller may still see the session, given its current metadata."""
    if session_id is None or not caller.sight.metadata:
        return True
    try:
        await context.store.sessions.get(session_id, sight=caller.sight)
    except NotFoundError:
        return False
    return True


async def require_authorized(context: Context, caller: Caller) -> None:
    """Check again when a long poll ends, or when a body that the handler reads itself has arrived, which may take
    hours.

    Raises UnauthorizedError.
    """
    if not await is_authorized(context, caller):
        raise UnauthorizedError("The API key was revoked during the request. Use another key.")


async def is_authorized(context: Context, caller: Caller) -> bool:
    """Whether what authorized the caller is still valid."""
    if caller.key is context.own_key:
        return True
    if caller.key is None:
        return context.auth == "off" or (context.auth == "auto" and not await context.store.keys.exist())
    now = datetime.now(UTC)
    if caller.valid_until is not None and caller.valid_until <= now:
        return False
    if caller.sign_in is not None and not (
        context.people is not None and await context.people.is_signed_in(caller.sign_in, caller.key.id)
    ):
        return False
    key = await context.store.keys.find(caller.key.id)
    # A stream that was opened with other scopes or another sight may show what the key does not see any more.
    return key is not None and key.is_active(now) and (key.scopes, key.sight) == (caller.key.scopes, caller.key.sight)
