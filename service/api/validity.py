"""A stream lasts no longer than the key that opened it is good."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

from service.api.caller import Caller
from service.api.context import Context

T = TypeVar("T")
CHECK_EVERY_S = 15.0


class KeyRevoked(Exception):
    """The key behind a stream is no longer good."""


async def while_valid(messages: AsyncGenerator[T, None], context: Context, caller: Caller) -> AsyncGenerator[T, None]:
    """Pass on what a stream brings, heartbeats included. Raises KeyRevoked."""
    checked_s = time.monotonic()
    async with aclosing(messages):
        async for batch in messages:
            if caller.key is not None and time.monotonic() - checked_s >= CHECK_EVERY_S:
                key = await context.store.find_key(caller.key.id)
                if key is None or key.revoked_at is not None:
                    raise KeyRevoked
                checked_s = time.monotonic()
            yield batch
