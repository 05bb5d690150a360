"""Disturbances of Redis. Each ends when Redis works completely again."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from redis.exceptions import RedisError

from tests.endurance.chaos.program import FailedRunError
from tests.endurance.chaos.scene import Scene
from tests.support.redis_server import RedisServer, ReplicatedRedis

WHOLE_WITHIN_S = 120.0
ASK_AGAIN_S = 30.0
LOOK_EVERY_S = 0.2
AWAY_S = (1.0, 6.0)
SLOW_FOR_S, PAUSE_S, PAUSE_EVERY_S = 10.0, (0.1, 0.9), 1.0

Disturbance = Callable[[Scene], Awaitable[None]]


async def planned_failover(scene: Scene) -> None:
    before = await asyncio.to_thread(scene.redis.primary_port)

    async def fail_over(within_s: float) -> None:
        await asyncio.to_thread(scene.redis.fail_over)
        await _until("promote a replica", lambda: scene.redis.primary_port() != before, within_s=within_s)

    try:
        await fail_over(ASK_AGAIN_S)
    except FailedRunError:
        # The Sentinel gives up when a busy machine takes more than 10 s to promote; operators ask again.
        await fail_over(WHOLE_WITHIN_S)
    await _whole(scene.redis)


async def killed_primary(scene: Scene) -> None:
    primary = await _primary(scene.redis)
    await asyncio.to_thread(primary.stop)
    await _until("promote a replica", lambda: scene.redis.primary_port() != primary.port)
    await asyncio.sleep(scene.rng.uniform(*AWAY_S))
    await asyncio.to_thread(primary.start)
    await _whole(scene.redis)


async def hanging_primary(scene: Scene) -> None:
    """It is replaced while it hangs, then continues, and believes for a while that it is the primary."""
    primary = await _primary(scene.redis)
    primary.pause()
    try:
        await _until("promote a replica", lambda: scene.redis.primary_port() != primary.port)
        await asyncio.sleep(scene.rng.uniform(*AWAY_S))
    finally:
        primary.resume()
    await _whole(scene.redis)


async def killed_replica(scene: Scene) -> None:
    primary = await _primary(scene.redis)
    replica = scene.rng.choice([server for server in scene.redis.servers if server is not primary])
    await asyncio.to_thread(replica.stop)
    await asyncio.sleep(scene.rng.uniform(*AWAY_S))
    await asyncio.to_thread(replica.start)
    await _whole(scene.redis)


async def slow_redis(scene: Scene) -> None:
    """It answers late, time and again, but not late enough to be replaced."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + SLOW_FOR_S
    while loop.time() < until_s:
        primary = await _primary(scene.redis)
        pause_ms = round(1000 * scene.rng.uniform(*PAUSE_S))
        with primary.client() as client:
            await asyncio.to_thread(client.execute_command, "CLIENT", "PAUSE", pause_ms, "ALL")
        await asyncio.sleep(PAUSE_EVERY_S)
    await _whole(scene.redis)


async def _primary(redis: ReplicatedRedis) -> RedisServer:
    port = await asyncio.to_thread(redis.primary_port)
    return next(server for server in redis.servers if server.port == port)


async def _whole(redis: ReplicatedRedis) -> None:
    """Every other server is a replica of the primary, and the Sentinels know that."""
    await _until("have all replicas again", lambda: _is_whole(redis))


def _is_whole(redis: ReplicatedRedis) -> bool:
    port = redis.primary_port()
    return all(redis.was_demoted(number) for number, server in enumerate(redis.servers) if server.port != port)


async def _until(what: str, is_so: Callable[[], bool], *, within_s: float = WHOLE_WITHIN_S) -> None:
    """Raises FailedRunError: what follows would say nothing about the product."""
    try:
        async with asyncio.timeout(within_s):
            while True:
                with suppress(RedisError, OSError):
                    if await asyncio.to_thread(is_so):
                        return
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError as error:
        raise FailedRunError(f"Redis did not {what} within {within_s:.0f} s") from error


REDIS_DISTURBANCES: dict[str, Disturbance] = {
    "planned failover": planned_failover,
    "primary killed": killed_primary,
    "primary hanging": hanging_primary,
    "replica killed": killed_replica,
    "slow Redis": slow_redis,
}
