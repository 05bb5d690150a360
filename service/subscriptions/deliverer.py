"""Runs a lane for each active subscription, on one server at a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass

from prometheus_client import Counter

from service.background import repeat
from service.errors import NotFoundError, ServiceError
from service.feed.fanout import Feed
from service.store.protocols import Store
from service.store.subscription_records import StoredSubscription, SubscriptionRecord, TargetKind
from service.subscriptions.lane import Lane
from service.subscriptions.progress import ProgressWriter
from service.subscriptions.selection import OpenActions
from service.subscriptions.target import Target
from service.webhooks.retry import Backoff

LOOK_EVERY_S = 0.25
STORE_AGAIN_S = 1.0
GIVE_UP_AFTER_S = 7 * 24 * 3600.0
"""A subscription whose target fails for this long is disabled."""
BACKOFFS: dict[TargetKind, Backoff] = {
    "webhook": Backoff(give_up_after_s=GIVE_UP_AFTER_S),
    "apprise": Backoff(give_up_after_s=GIVE_UP_AFTER_S),
    # A broker serves many subscribers and is often nearby: it can take more attempts, and people notice its absence
    # sooner.
    "mqtt": Backoff(first_s=1.0, longest_s=60.0, give_up_after_s=GIVE_UP_AFTER_S),
    "redis": Backoff(first_s=1.0, longest_s=60.0, give_up_after_s=GIVE_UP_AFTER_S),
}


@dataclass(frozen=True)
class SubscriptionBacklog:
    """Subscriptions that wait for their target, since when the longest does, and those whose target fails."""

    pending: int
    oldest_s: float
    failing: int


class SubscriptionDeliverer:
    """`open_target` connects to the target of a subscription. `deliveries` counts by kind of target and outcome."""

    def __init__(
        self,
        store: Store,
        feed: Feed,
        open_target: Callable[[SubscriptionRecord, OpenActions], AbstractAsyncContextManager[Target]],
        deliveries: Counter,
        poison: Counter,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._writer = ProgressWriter(store.subscriptions)
        self._feed = feed
        self._open_target = open_target
        self._deliveries = deliveries
        self._poison = poison
        self._clock = clock
        self._lanes: dict[str, tuple[Lane, asyncio.Task[None]]] = {}
        self._unreadable: dict[str, int] = {}
        """Revisions that could not be read; they are not read again."""

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._repeat(self._writer.write_regularly, "subscription_progress"))
                await self._repeat(lambda: self._open_and_end_lanes(group), "subscriptions")
        finally:
            with suppress(ServiceError):
                await self._writer.write()

    async def _repeat(self, step: Callable[[], Awaitable[float]], name: str) -> None:
        await repeat(step, name=name, retry_s=STORE_AGAIN_S, poison=self._poison)

    def backlog(self) -> SubscriptionBacklog:
        """Of the lanes of this server."""
        lanes = [lane for lane, _ in self._lanes.values()]
        waiting_unix_s = [lane.waiting_since.timestamp() for lane in lanes if lane.waiting_since is not None]
        oldest_s = max(0.0, self._clock() - min(waiting_unix_s)) if waiting_unix_s else 0.0
        return SubscriptionBacklog(len(waiting_unix_s), oldest_s, sum(lane.is_failing for lane in lanes))

    async def _open_and_end_lanes(self, group: asyncio.TaskGroup) -> float:
        """Return when to look again, in seconds. Raises ServiceError."""
        revisions = await self._store.subscriptions.drive()
        for subscription_id, (lane, task) in self._lanes.items():
            if revisions.get(subscription_id) != lane.revision and not task.cancelling():
                # It makes room once it has ended: there are never two lanes of one subscription.
                task.cancel()
        self._writer.keep(revisions)
        self._unreadable = {each: n for each, n in self._unreadable.items() if revisions.get(each) == n}
        for subscription_id, revision in revisions.items():
            if subscription_id not in self._lanes and self._unreadable.get(subscription_id) != revision:
                try:
                    self._open_lane(group, await self._store.subscriptions.get(subscription_id))
                except NotFoundError:
                    self._unreadable[subscription_id] = revision
        return LOOK_EVERY_S

    def _open_lane(self, group: asyncio.TaskGroup, subscription: StoredSubscription) -> None:
        record = subscription.record
        lane = Lane(
            subscription,
            self._open_target,
            backoff=BACKOFFS[record.target.kind],
            writer=self._writer,
            log=self._store.log,
            feed=self._feed,
            deliveries=self._deliveries,
            poison=self._poison,
            clock=self._clock,
        )
        self._lanes[record.id] = (lane, group.create_task(self._run(lane)))

    async def _run(self, lane: Lane) -> None:
        try:
            await lane.run()
        finally:
            del self._lanes[lane.record.id]
