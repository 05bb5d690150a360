"""Data that survives a failover: replicas confirm writes, and a primary that Sentinel has replaced gets none."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog
from redis.asyncio import Redis

from service.errors import StoreUnavailableError
from service.store.redis.replies import translated
from service.store.redis.sentinels import Sentinels

CHECK_EVERY_S = 0.5
REMEMBER_S = 15.0
"""A replica that was connected within this time must confirm writes; a promoted one leaves the old primary
immediately.
"""
CONFIRM_TIMEOUT_S = 1.0
"""In half a second, a replica on a busy machine had not always answered."""
LONGEST_LAG_S = 10
"""Writes do not wait for a replica that is silent for longer: it hangs, and its connection may last another minute."""
_log = structlog.get_logger(__name__)


class Replication:
    """The primary and its replicas, as last seen."""

    def __init__(self, client: Redis, sentinels: Sentinels, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._sentinels = sentinels
        self._clock = clock
        self._checked_s = -CHECK_EVERY_S
        self._checking = asyncio.Lock()
        self._connected: deque[tuple[float, int]] = deque()
        self._why_unknown = ""
        self.primary: tuple[str, int] | None = None
        """Host and port, as the Sentinels last reported them."""

    async def required(self) -> int:
        """Replicas that must confirm a write now; looks for another primary, at most every CHECK_EVERY_S.

        Raises:
            StoreUnavailableError: The primary has not reported its replicas for REMEMBER_S, so a write might be lost.
        """
        if not (self._connected and self._checking.locked()):
            async with self._checking:
                if self._clock() - self._checked_s >= CHECK_EVERY_S:
                    await self._check()
                    self._checked_s = self._clock()
        if not self._connected:
            raise StoreUnavailableError(self._why_unknown)
        return max(count for _, count in self._connected)

    async def _check(self) -> None:
        newest = await self._sentinels.newest()
        if newest is not None and (newest.host, newest.port) != self.primary:
            if self.primary is not None:
                _log.warning("Redis has another primary, connecting to it", sentinel=self._sentinels.name)
                await self._client.connection_pool.disconnect()
                self._connected.clear()
            self.primary = newest.host, newest.port
        try:
            found = await translated(self._client.info("replication"))
        except StoreUnavailableError as error:
            self._why_unknown = error.detail
        else:
            # A replica that was promoted does not confirm, even before this process learns of its promotion.
            expected = 0 if newest is None else newest.replicas
            self._connected.append((self._clock(), max(_replicas(found), expected)))
        while self._connected and self._connected[0][0] < self._clock() - REMEMBER_S:
            self._connected.popleft()


def _replicas(info: dict[str, Any]) -> int:
    """Those that have all data of the primary, and confirm what they get."""
    replicas = [info.get(f"slave{number}", {}) for number in range(int(info.get("connected_slaves", 0)))]
    return sum(one.get("state") == "online" and int(one.get("lag", 0)) <= LONGEST_LAG_S for one in replicas)
