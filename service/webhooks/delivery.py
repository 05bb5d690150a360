"""Post events to webhooks: in order and at least once for each session, across failures and restarts.

Each webhook that is due has its own lane, a background task, so a slow or hanging receiver delays no other. The
lanes are bounded in number (`service/webhooks/lanes.py`); one whose receiver hangs makes room for another.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import httpcore
import structlog
from prometheus_client import Counter

from service.errors import NotFoundError, ServiceError
from service.event_schemas import Event
from service.schemas import ENDED_STATES
from service.store.delivery_protocols import Outbox
from service.store.protocols import EventLog
from service.store.webhook_records import Webhook
from service.webhooks.lanes import Lanes
from service.webhooks.post import PostFailedError, post_signed
from service.webhooks.retry import retry_at

LOOK_EVERY_S = 0.25
STORE_AGAIN_S = 1.0
HANGS_AFTER_S = 1.0
"""A receiver that has not answered for this long is considered hanging."""
EVENTS_PER_LANE, LANE_S = 50, 30.0
"""A lane ends after this many events, or this long. The rest is due again immediately, so that webhooks take turns."""
_log = structlog.get_logger(__name__)


class WebhookNotDeliveredError(Exception):
    """The receiver did not accept an event."""

    def __init__(self, event_id: str, cause: PostFailedError) -> None:
        super().__init__(cause.reason)
        self.event_id = event_id
        self.cause = cause


class Deliverer:
    """`clock` gives seconds since 1970. `deliveries` counts by outcome: delivered, failed or given_up.

    `poison` counts webhooks whose delivery raised an unexpected exception. Such a webhook is retried later, like one
    whose receiver failed; it never stops the others.
    """

    def __init__(
        self,
        outbox: Outbox,
        log: EventLog,
        pool: httpcore.AsyncConnectionPool,
        deliveries: Counter,
        poison: Counter,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._outbox = outbox
        self._log = log
        self._pool = pool
        self._deliveries = deliveries
        self._poison = poison
        self._clock = clock
        self._lanes = Lanes()
        self._attempts: dict[str, asyncio.Timeout] = {}
        """The attempts under way, by session."""
        self._more_is_due = asyncio.Event()

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                wait_s = LOOK_EVERY_S
                try:
                    await self._open_lanes(group)
                except ServiceError as error:
                    _log.warning("webhooks wait for the store", error=error.detail)
                    wait_s = STORE_AGAIN_S
                except Exception:
                    self._poison.labels("webhooks").inc()
                    _log.exception("cannot read the due webhooks; trying again")
                    wait_s = STORE_AGAIN_S
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._more_is_due.wait()
                self._more_is_due.clear()

    async def deliver_due(self) -> bool:
        """Deliver once to each webhook that is due, and return whether there was one. Raises ServiceError."""
        async with asyncio.TaskGroup() as group:
            return await self._open_lanes(group) > 0

    async def _open_lanes(self, group: asyncio.TaskGroup) -> int:
        """Open a lane for each due webhook without one, as far as the bounds allow; return how many."""
        room = self._lanes.room
        if room == 0:
            return 0
        due = await self._outbox.due(
            now_unix_s=self._clock(),
            limit=room,
            skip_sessions=self._lanes.sessions,
            skip_owners=self._lanes.full_owners,
            skip_receivers=self._lanes.full_receivers,
        )
        opened = 0
        for webhook in due:
            if self._lanes.has_room_for(webhook):
                self._lanes.open(webhook)
                group.create_task(self._run_lane(webhook))
                opened += 1
        if opened and len(due) == room:
            # Many may be for the same receiver. The next query leaves that one out, and finds others.
            self._more_is_due.set()
        return opened

    async def _run_lane(self, webhook: Webhook) -> None:
        try:
            await self._deliver_events(webhook)
        except NotFoundError:
            _log.info("webhook ended: its session was deleted", session=webhook.session_id)
        except ServiceError as error:
            _log.warning("webhook waits for the store", session=webhook.session_id, error=error.detail)
        except Exception:
            self._poison.labels("webhook").inc()
            _log.exception("webhook delivery failed unexpectedly", session=webhook.session_id)
        finally:
            self._lanes.close(webhook.session_id)

    async def _deliver_events(self, webhook: Webhook) -> None:
        ends_s = time.monotonic() + LANE_S
        try:
            delivered = webhook.delivered
            events = await self._log.read_events(webhook.session_id, after=delivered, limit=EVENTS_PER_LANE)
            for event in events:
                await self._post(webhook, event)
                self._deliveries.labels("delivered").inc()
                last = event.type == "session.state" and event.state in ENDED_STATES
                is_noted = await self._outbox.note_delivered(
                    webhook.session_id, event.id, after=delivered, now_unix_s=self._clock(), last=last
                )
                if not is_noted:
                    return
                delivered = event.id
                if time.monotonic() >= ends_s:
                    return
            if len(events) == EVENTS_PER_LANE:
                self._more_is_due.set()
        except WebhookNotDeliveredError as error:
            await self._note_failure(webhook, error)
        except ServiceError:
            raise
        except Exception as error:
            # The row or URL cannot be handled. It counts as a failure of the receiver, so it is retried with backoff.
            self._poison.labels("webhook").inc()
            _log.exception("webhook delivery failed unexpectedly", session=webhook.session_id)
            failure = PostFailedError(type(error).__name__)
            await self._note_failure(webhook, WebhookNotDeliveredError(webhook.delivered or "0-0", failure))

    async def _note_failure(self, webhook: Webhook, failure: WebhookNotDeliveredError) -> None:
        now_unix_s = self._clock()
        cause = failure.cause
        retry_unix_s = None
        if not cause.is_final:
            retry_unix_s = retry_at(
                now_unix_s,
                failing_since_unix_s=webhook.failing_since_unix_s,
                failed_attempts=webhook.attempts,
                wait_s=cause.wait_s,
                jitter=random.random(),
            )
        outcome = "given_up" if retry_unix_s is None else "failed"
        self._deliveries.labels(outcome).inc()
        _log.warning("webhook not delivered", session=webhook.session_id, reason=cause.reason, outcome=outcome)
        await self._outbox.note_failed(
            webhook.session_id,
            failure.event_id,
            reason=cause.reason,
            now_unix_s=now_unix_s,
            retry_unix_s=retry_unix_s,
        )

    async def _post(self, webhook: Webhook, event: Event) -> None:
        """Raises WebhookNotDeliveredError."""
        now_unix_s = self._clock()
        secrets = [webhook.secret.get_secret_value()]
        if webhook.old_secret is not None and now_unix_s < webhook.old_secret_until_unix_s:
            secrets.append(webhook.old_secret.get_secret_value())
        try:
            async with self._attempt(webhook.session_id):
                await post_signed(
                    self._pool,
                    webhook.url.get_secret_value(),
                    event.model_dump_json(exclude_none=True).encode(),
                    message_id=f"{event.session_id}_{event.id}",
                    secrets=secrets,
                    headers={"content-type": "application/json"},
                    now_unix_s=now_unix_s,
                )
        except PostFailedError as error:
            raise WebhookNotDeliveredError(event.id, error) from error

    @asynccontextmanager
    async def _attempt(self, session_id: str) -> AsyncIterator[None]:
        """Note that the receiver hangs. Raises PostFailedError if the attempt must make room for others."""
        hangs = asyncio.get_running_loop().call_later(HANGS_AFTER_S, self._note_hanging, session_id)
        try:
            async with asyncio.timeout(None) as attempt:
                self._attempts[session_id] = attempt
                yield
        except TimeoutError as error:
            raise PostFailedError("no answer; given up because too many receivers hang") from error
        finally:
            hangs.cancel()
            del self._attempts[session_id]
            self._lanes.answered(session_id)

    def _note_hanging(self, session_id: str) -> None:
        given_up = self._lanes.hangs(session_id)
        if given_up is not None:
            self._attempts[given_up].reschedule(asyncio.get_running_loop().time())
        self._more_is_due.set()
