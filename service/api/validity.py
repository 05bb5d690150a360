"""A stream lasts no longer than what opened it is good."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

from service.api.caller import Caller
from service.api.context import Context

T = TypeVar("T")
CHECK_EVERY_S = 15.0


class KeyRevoked(Exception):
    """The key behind a stream is no longer good, or there was none and now one is needed."""


async def while_valid(messages: AsyncGenerator[T, None], context: Context, caller: Caller) -> AsyncGenerator[T, None]:
    """Pass on what a stream brings, heartbeats included. Raises KeyRevoked."""
    checked_s = time.monotonic()
    async with aclosing(messages):
        async for batch in messages:
            if time.monotonic() - checked_s >= CHECK_EVERY_S:
                if not await _is_good(context, caller):
                    raise KeyRevoked
                checked_s = time.monotonic()
            yield batch


async def _is_good(context: Context, caller: Caller) -> bool:
    if caller.key is None:
        return context.settings.auth == "off" or not await context.store.has_keys()
    key = await context.store.find_key(caller.key.id)
    return key is not None and key.revoked_at is None
