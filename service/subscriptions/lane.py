"""The lane of one subscription: reads the events that it wants, delivers them in order, and records its progress."""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import NoReturn

import structlog
from prometheus_client import Counter

from service.background import race
from service.errors import ServiceError
from service.event_schemas import Event
from service.feed.fanout import Feed, FeedClosedError, SlowClientError, Subscription
from service.feed.messages import position_order
from service.store.protocols import EventLog
from service.store.subscription_records import (
    MAX_KEPT_ATTEMPTS,
    LastAction,
    ProgressChange,
    StoredSubscription,
    SubscriptionAttempt,
    SubscriptionRecord,
    SubscriptionState,
)
from service.subscriptions.progress import ProgressWriter
from service.subscriptions.selection import OpenActions, Selection
from service.subscriptions.target import DeliveryFailedError, Target
from service.webhooks.retry import Backoff, retry_at

PAGE = 500
SAVE_EVERY = 20
"""After this many deliveries, a lane waits until its progress is written. A crash repeats at most these."""
IDLE_S = 60.0
"""After this long without a wanted event, the cursor moves past the others, so that a restart need not read them
again.
"""
STORE_AGAIN_S = 1.0
_log = structlog.get_logger(__name__)


class LaneEndedError(Exception):
    """The subscription was changed or deleted, or another server delivers now."""


class Lane:
    """Delivers one revision of a subscription. `waiting` is the event that is being delivered or tried again."""

    def __init__(
        self,
        subscription: StoredSubscription,
        open_target: Callable[[SubscriptionRecord, OpenActions], AbstractAsyncContextManager[Target]],
        *,
        backoff: Backoff,
        writer: ProgressWriter,
        log: EventLog,
        feed: Feed,
        deliveries: Counter,
        poison: Counter,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.record = subscription.record
        self.revision = subscription.revision
        self.waiting: Event | None = None
        self._progress = subscription.progress
        self._selection = Selection(
            subscription.record.filter.event_filter(),
            cooldown_s=subscription.record.cooldown_s,
            has_states=subscription.record.target.kind == "mqtt",
            actions=subscription.progress.actions,
        )
        self._open_target = open_target
        self._backoff = backoff
        self._writer = writer
        self._log = log
        self._feed = feed
        self._deliveries = deliveries
        self._poison = poison
        self._clock = clock
        self._unwritten = 0

    @property
    def is_failing(self) -> bool:
        """Whether the last attempt failed."""
        return self._progress.failing_since is not None

    @property
    def waiting_since(self) -> datetime | None:
        """When the current event was decided, or when its target began to fail; None if everything is delivered."""
        since = (None if self.waiting is None else self.waiting.time, self._progress.failing_since)
        return min((moment for moment in since if moment is not None), default=None)

    async def run(self) -> None:
        """Deliver until cancelled, or until the lane ends."""
        try:
            while True:
                try:
                    await self._deliver_until_failure()
                except ServiceError as error:
                    _log.warning("a subscription waits for the store", subscription=self.record.id, error=error.detail)
                    await asyncio.sleep(STORE_AGAIN_S)
        except (LaneEndedError, FeedClosedError):
            return

    async def _deliver_until_failure(self) -> None:
        """Returns after a failure was noted. Raises LaneEndedError, FeedClosedError, ServiceError."""
        if self._progress.next_attempt_at is not None:
            await asyncio.sleep(max(0.0, self._progress.next_attempt_at.timestamp() - self._clock()))
        try:
            async with self._open_target(self.record, self._selection.open_actions) as target:
                await race(self._deliver_all(target), target.lost())
        except DeliveryFailedError as failure:
            await self._note_failure(failure)
        except (ServiceError, LaneEndedError, FeedClosedError):
            raise
        except Exception as error:
            self._poison.labels("subscription").inc()
            _log.exception("a subscription failed unexpectedly", subscription=self.record.id)
            await self._note_failure(DeliveryFailedError(type(error).__name__))

    async def _deliver_all(self, target: Target) -> NoReturn:
        with self._feed.subscribe_all(self.record.sight, self._selection.read, delivers=True) as live:
            while True:
                await self._deliver_stored(target, live)
                try:
                    while True:
                        await self._deliver_live(target, live)
                except SlowClientError:
                    # More events came than the buffer holds: they are read from the store.
                    continue

    async def _deliver_stored(self, target: Target, live: Subscription) -> None:
        self.waiting = None
        is_behind = True
        while is_behind:
            live.restart()
            page = await self._log.read(after=self._progress.cursor, limit=PAGE, sight=self.record.sight)
            for entry in page.entries:
                if self._selection.read.passes(entry.event):
                    await self._deliver(target, entry.event)
                self._move_to(entry.cursor)
                await self._save_sometimes()
            self._move_to(page.cursor)
            is_behind = len(page.entries) == PAGE or live.overflowed
        live.seen = position_order(self._progress.cursor)
        self._save()

    async def _deliver_live(self, target: Target, live: Subscription) -> None:
        messages = await live.take(IDLE_S)
        for message in messages:
            if message.order > live.seen:
                await self._deliver(target, message.event)
                self._move_to(message.position)
                await self._save_sometimes()
        if messages:
            self._save()
            return
        passed = self._feed.position
        if passed is not None and int(passed) > int(self._progress.cursor) and not live.has_messages:
            # Nothing that is wanted came since the cursor.
            self._move_to(passed)
            self._save()

    async def _deliver(self, target: Target, event: Event) -> None:
        """Deliver an event that the filter passes, if a cooldown does not hold it back. Raises DeliveryFailedError."""
        before = dict(self._selection.actions)
        if self._selection.admits(event):
            await self._send(target, event, before)
        self._selection.forget_ended(event)

    async def _send(self, target: Target, event: Event, before: dict[str, LastAction]) -> None:
        self.waiting = event
        try:
            await target.deliver(event)
        except BaseException:
            # It will be judged again.
            self._selection.actions = before
            raise
        self.waiting = None
        self._unwritten += 1
        self._deliveries.labels(self.record.target.kind, "delivered").inc()
        self._note_attempt(event, None)

    def _move_to(self, cursor: str) -> None:
        self._progress = self._progress.model_copy(update={"cursor": cursor, "actions": dict(self._selection.actions)})

    async def _save_sometimes(self) -> None:
        if self._unwritten >= SAVE_EVERY:
            self._save()
            await self._writer.write()
            self._unwritten = 0

    def _save(self) -> None:
        """Everything up to the cursor was accepted. Raises LaneEndedError."""
        recovered = {"failed_attempts": 0, "failing_since": None, "next_attempt_at": None}
        self._progress = self._progress.model_copy(update=recovered)
        self._put("active")

    def _put(self, state: SubscriptionState) -> None:
        """Raises LaneEndedError."""
        if self._writer.has_moved(self.record.id, self.revision):
            raise LaneEndedError
        self._writer.put(ProgressChange(self.record.id, self.revision, self._progress, state))

    async def _note_failure(self, failure: DeliveryFailedError) -> None:
        now_unix_s = self._clock()
        since = self._progress.failing_since
        retry_unix_s = None
        if not failure.is_final:
            retry_unix_s = retry_at(
                now_unix_s,
                failing_since_unix_s=None if since is None else since.timestamp(),
                failed_attempts=self._progress.failed_attempts,
                wait_s=failure.wait_s,
                jitter=random.random(),
                backoff=self._backoff,
            )
        outcome = "given_up" if retry_unix_s is None else "failed"
        self._deliveries.labels(self.record.target.kind, outcome).inc()
        _log.warning("not delivered", subscription=self.record.id, reason=failure.reason, outcome=outcome)
        self._note_attempt(self.waiting, failure.reason)
        self._progress = self._progress.model_copy(
            update={
                "failed_attempts": self._progress.failed_attempts + 1,
                "failing_since": since or _moment(now_unix_s),
                "next_attempt_at": None if retry_unix_s is None else _moment(retry_unix_s),
            }
        )
        self._put("active" if retry_unix_s is not None else "disabled")
        await self._writer.write()
        if retry_unix_s is None:
            raise LaneEndedError

    def _note_attempt(self, event: Event | None, failure: str | None) -> None:
        attempt = SubscriptionAttempt(
            event_id=None if event is None else event.id,
            session_id=None if event is None else event.session_id,
            at=_moment(self._clock()),
            failure=failure,
        )
        attempts = (attempt, *self._progress.attempts)[:MAX_KEPT_ATTEMPTS]
        delivered = self._progress.delivered + (failure is None)
        self._progress = self._progress.model_copy(update={"attempts": attempts, "delivered": delivered})


def _moment(unix_s: float) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC)
