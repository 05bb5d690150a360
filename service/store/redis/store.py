"""The store of a scaled deployment: one Redis (a server, a Sentinel's primary, a cluster) for all machines."""

import uuid
from collections.abc import Callable
from contextlib import suppress

from redis.asyncio import Redis

from service.errors import StoreUnavailableError
from service.store.protocols import Store
from service.store.reading import Reader
from service.store.redis.connect import Connected, connect
from service.store.redis.feedback import RedisFeedback
from service.store.redis.keys import RedisKeys
from service.store.redis.log import RedisLog
from service.store.redis.models import RedisModels
from service.store.redis.outbox import RedisOutbox
from service.store.redis.records import Retained
from service.store.redis.replication import Replication
from service.store.redis.scripts import Scripts
from service.store.redis.sessions import RedisSessions
from service.store.redis.shadows import RedisShadows
from service.store.redis.subscriptions import RedisSubscriptions
from service.store.redis.workers import RedisWorkers


def open_redis_store(
    url: str,
    *,
    scores_keep_s: float = 3600.0,
    events_keep_s: float = 7 * 24 * 3600.0,
    events_max: int = 10_000,
    clock: Callable[[], float] | None = None,
    count_unreadable: Callable[[str], None] = lambda kind: None,
) -> Store:
    """A store in the Redis at `url`, see `connect`. Connects on first use.

    Args:
        url: Address of the Redis.
        scores_keep_s: Media time of scores that is kept for each session.
        events_keep_s: Media time of events that is kept for each session.
        events_max: Events that are kept for each session.
        clock: Replaces Redis's clock for leases, in tests.
        count_unreadable: Called with the kind of each row that this version cannot read.

    Raises:
        ValueError: The URL is not a valid address.
    """
    connected = connect(url)
    scripts = Scripts(connected.client, clock, Reader(count_unreadable), _replication(connected))
    retained = Retained(events_max=events_max, events_keep_s=events_keep_s, scores_keep_s=scores_keep_s)
    deliverer_id = uuid.uuid4().hex
    outbox = RedisOutbox(scripts, deliverer_id)

    async def close() -> None:
        with suppress(StoreUnavailableError):
            await outbox.hand_over()
        await connected.aclose()

    return Store(
        sessions=RedisSessions(scripts, retained),
        workers=RedisWorkers(scripts, clock),
        log=RedisLog(scripts, retained),
        keys=RedisKeys(scripts),
        outbox=outbox,
        feedback=RedisFeedback(scripts),
        models=RedisModels(scripts),
        shadows=RedisShadows(scripts),
        subscriptions=RedisSubscriptions(scripts, deliverer_id),
        close=close,
    )


def _replication(connected: Connected) -> Replication | None:
    """None without Sentinels."""
    if not isinstance(connected.client, Redis) or connected.sentinels is None:
        return None
    return Replication(connected.client, connected.sentinels)
