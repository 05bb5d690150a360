"""Runs the Lua scripts beside this file, each of which does one step of the store whole or not at all."""

import asyncio
from collections.abc import Awaitable
from functools import cache
from importlib.resources import files
from typing import Any

from redis.exceptions import (
    ConnectionError,  # noqa: A004 - the names that redis gives them
    NoScriptError,
    OutOfMemoryError,
    RedisError,
    TimeoutError,  # noqa: A004
)

from service.errors import ServiceError, StorageFull, StoreUnavailable
from service.store.redis_connect import Client
from service.store.redis_records import Argument

PREFIX = "{cake}"
"""Before every key; the braces keep all of them on one node of a cluster, as scripts need."""

UNREACHABLE = "Redis cannot be reached; see to it, and to CAKE_STORE_URL."
# What uvloop says to whoever writes to a connection that was lost just before; redis-py knows only asyncio's ways.
UVLOOP_LOST = "the handler is closed"


def key(*parts: str) -> str:
    return ":".join((PREFIX, *parts))


@cache
def _text(name: str) -> str:
    folder = files("service.store") / "lua"
    return (folder / "common.lua").read_text() + (folder / f"{name}.lua").read_text()


class Scripts:
    """The scripts on one client."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._scripts: dict[str, Any] = {}

    async def run(self, name: str, *arguments: Argument) -> Any:
        """What the script `name` answers. Raises StoreUnavailable, StorageFull."""
        if name not in self._scripts:
            self._scripts[name] = self._client.register_script(_text(name))
        return await translated(self._scripts[name](keys=[PREFIX], args=arguments))


async def translated(answer: Awaitable[Any]) -> Any:
    """The answer of Redis, untyped as redis-py's types cannot tell bytes from text.

    Raises StoreUnavailable, StorageFull.
    """
    task = asyncio.current_task()
    assert task is not None
    cancellations = task.cancelling()
    try:
        return await answer
    except RedisError as error:
        raise _translated(error) from error
    except OSError as error:
        raise StoreUnavailable(UNREACHABLE) from error
    except RuntimeError as error:
        if UVLOOP_LOST not in str(error):
            raise
        raise StoreUnavailable(UNREACHABLE) from error
    finally:
        # redis-py sends through `asyncio.wait_for`, which before Python 3.12 loses a cancellation now and then.
        if task.cancelling() > cancellations:
            raise asyncio.CancelledError


def _translated(error: RedisError) -> ServiceError:
    if isinstance(error, OutOfMemoryError) or "OOM" in str(error):
        return StorageFull("Redis has no memory left; delete sessions, or give it more.")
    if isinstance(error, TimeoutError):
        return StoreUnavailable("Redis did not answer in time; try again.")
    if isinstance(error, ConnectionError) and not isinstance(error, NoScriptError):
        return StoreUnavailable(UNREACHABLE)
    return StoreUnavailable(f"Redis refuses to work ({error}); see to it.")
