"""Where the primary is, by the newest configuration that any Sentinel knows.

Sentinels learn of a failover one after the other. Until then some name the old primary, which accepts writes that are
lost. redis-py believes the first one that answers.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.exceptions import RedisError

TIMEOUT_S = 0.3
REMEMBER_S = 15.0
"""For how long a configuration counts although Sentinels that answer know only older ones."""
_UNUSABLE = ("s_down", "o_down", "disconnected")


@dataclass(frozen=True)
class Configuration:
    """`epoch` grows with each failover. `replicas`: those that reply and have the data of the primary."""

    epoch: int
    host: str
    port: int
    is_down: bool
    replicas: int


class Sentinels(Sentinel):
    """The Sentinels of one primary."""

    def __init__(
        self, hosts: list[tuple[str, int]], name: str, *, clock: Callable[[], float] = time.monotonic, **options: Any
    ) -> None:
        super().__init__(hosts, **options)  # type: ignore[no-untyped-call]
        self.name = name
        self._clock = clock
        self._newest: Configuration | None = None
        self._seen_s = 0.0

    async def newest(self) -> Configuration | None:
        """The newest configuration; None if no Sentinel answers."""
        answers = await asyncio.gather(*(self._ask(sentinel) for sentinel in self.sentinels))
        known = [answer for answer in answers if answer is not None]
        if known:
            found = max(known, key=lambda one: one.epoch)
            now_s = self._clock()
            if self._newest is None or found.epoch >= self._newest.epoch or now_s - self._seen_s > REMEMBER_S:
                self._newest, self._seen_s = found, now_s
        return self._newest if known else None

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Address of the primary, for redis-py. Raises MasterNotFoundError."""
        newest = await self.newest()
        if newest is None or newest.is_down:
            raise MasterNotFoundError(f"no primary found for {self.name!r}")
        return newest.host, newest.port

    async def aclose(self) -> None:
        """Close the connections to all Sentinels."""
        for sentinel in self.sentinels:
            await sentinel.aclose()

    async def _ask(self, sentinel: Redis) -> Configuration | None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                # It names a promoted replica before SENTINEL MASTER does.
                address: Any = await sentinel.sentinel_get_master_addr_by_name(self.name)
                state: Any = await sentinel.sentinel_master(self.name)
                replicas: Any = await sentinel.sentinel_slaves(self.name)
                host, port = _text(address[0]), int(address[1])
                is_current = (host, port) == (state["ip"], state["port"])
                is_down = is_current and bool(state["is_sdown"] or state["is_odown"])
                return Configuration(int(state["config-epoch"]), host, port, is_down, sum(map(_is_usable, replicas)))
        except (RedisError, OSError, TimeoutError, TypeError, ValueError):
            return None


def _is_usable(replica: dict[str, Any]) -> bool:
    is_replica = replica.get("role-reported") == "slave" and replica.get("master-link-status") == "ok"
    return is_replica and not any(flag in str(replica.get("flags")) for flag in _UNUSABLE)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
