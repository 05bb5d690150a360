"""Translates the replies and errors of Redis into those of the service."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from redis.exceptions import (
    ConnectionError,  # noqa: A004 - the names that redis gives them
    NoScriptError,
    OutOfMemoryError,
    RedisError,
    TimeoutError,  # noqa: A004
)

from service.errors import ServiceError, StorageFullError, StoreLateError, StoreUnavailableError

UNREACHABLE = "Cannot connect to Redis. Check that it is running and that CAKE_STORE_URL is correct."
# uvloop's message for a write to a connection that was just lost; redis-py recognises only asyncio's errors.
UVLOOP_LOST = "the handler is closed"


def id_of(reply: bytes) -> str:
    """An id as text. An id that is not UTF-8 then names nothing, and others can still be read."""
    return reply.decode(errors="replace")


async def translated(reply: Awaitable[Any]) -> Any:
    """The reply of Redis, untyped because redis-py's types do not distinguish bytes from text.

    Raises StoreUnavailableError, StorageFullError.
    """
    task = asyncio.current_task()
    assert task is not None
    cancellations = task.cancelling()
    try:
        return await reply
    except RedisError as error:
        raise _translated(error) from error
    except OSError as error:
        raise StoreUnavailableError(UNREACHABLE) from error
    except RuntimeError as error:
        if UVLOOP_LOST not in str(error):
            raise
        raise StoreUnavailableError(UNREACHABLE) from error
    finally:
        # redis-py sends through `asyncio.wait_for`, which before Python 3.12 sometimes loses a cancellation.
        if task.cancelling() > cancellations:
            raise asyncio.CancelledError


def _translated(error: RedisError) -> ServiceError:
    if isinstance(error, OutOfMemoryError) or "OOM" in str(error):
        return StorageFullError("Redis is out of memory. Delete sessions, or raise its maxmemory.")
    # The cause is asyncio's if other commands occupy all connections.
    if isinstance(error, TimeoutError) or isinstance(error.__cause__, asyncio.TimeoutError):
        return StoreLateError("Redis did not reply in time. Retry.")
    if isinstance(error, ConnectionError) and not isinstance(error, NoScriptError):
        return StoreUnavailableError(UNREACHABLE)
    return StoreUnavailableError(f"Redis returned an error: {error}")
