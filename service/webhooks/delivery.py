"""Posts events in order, one at a time for each session, and goes on after failures and restarts where it was."""

import asyncio
import random
import time
from collections.abc import Callable

import httpcore
import structlog
from prometheus_client import Counter

from service.errors import NotFound, ServiceError
from service.schemas import ENDED_STATES, Event
from service.sources import SourceForbidden
from service.store.base import Store
from service.webhooks.outbox import Webhook, retry_at
from service.webhooks.signature import signed_headers

LOOK_EVERY_S = 0.25
STORE_AGAIN_S = 1.0
AT_ONCE = 8
EVENTS_AT_ONCE = 50
WITHIN_S = 15.0
_GONE = 410
_log = structlog.get_logger(__name__)


class Deliverer:
    """`clock` gives seconds since 1970. `deliveries` counts by outcome: delivered, failed or given_up."""

    def __init__(
        self,
        store: Store,
        pool: httpcore.AsyncConnectionPool,
        deliveries: Counter,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._pool = pool
        self._deliveries = deliveries
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                posted = await self.deliver_due()
            except ServiceError as error:
                _log.warning("webhooks wait for the store", error=error.detail)
                await asyncio.sleep(STORE_AGAIN_S)
                continue
            if not posted:
                await asyncio.sleep(LOOK_EVERY_S)

    async def deliver_due(self) -> bool:
        """One round for up to AT_ONCE sessions; whether anything was posted. Raises ServiceError."""
        due = await self._store.due_webhooks(now_unix_s=self._clock(), limit=AT_ONCE)
        async with asyncio.TaskGroup() as group:
            rounds = [group.create_task(self._deliver(webhook)) for webhook in due]
        return any(done.result() for done in rounds)

    async def _deliver(self, webhook: Webhook) -> bool:
        try:
            await self._deliver_events(webhook)
        except NotFound:
            _log.info("webhook's session was deleted", session=webhook.session_id)
            return False
        except ServiceError as error:
            _log.warning("webhook waits for the store", session=webhook.session_id, error=error.detail)
            return False
        return True

    async def _deliver_events(self, webhook: Webhook) -> None:
        for event in await self._store.read_events(webhook.session_id, after=webhook.delivered, limit=EVENTS_AT_ONCE):
            failure = await self._post(webhook, event)
            if failure is not None:
                await self._note_failure(webhook, failure)
                return
            self._deliveries.labels("delivered").inc()
            last = event.type == "session.state" and event.state in ENDED_STATES
            await self._store.note_delivered(webhook.session_id, event.id, last=last)

    async def _note_failure(self, webhook: Webhook, failure: str) -> None:
        now_unix_s = self._clock()
        retry_unix_s = None if failure == str(_GONE) else retry_at(webhook, now_unix_s, random.random())
        outcome = "given_up" if retry_unix_s is None else "failed"
        self._deliveries.labels(outcome).inc()
        _log.warning("webhook not delivered", session=webhook.session_id, failure=failure, outcome=outcome)
        await self._store.note_failed(webhook.session_id, now_unix_s=now_unix_s, retry_unix_s=retry_unix_s)

    async def _post(self, webhook: Webhook, event: Event) -> str | None:
        """Why the receiver has not taken the event; None if it has."""
        body = event.model_dump_json(exclude_none=True).encode()
        message_id = f"{event.session_id}_{event.id}"
        headers = signed_headers(webhook.secret, message_id, int(self._clock()), body)
        headers |= {"content-type": "application/json", "user-agent": "CAKE"}
        try:
            async with asyncio.timeout(WITHIN_S):
                request = self._pool.stream("POST", webhook.url, headers=list(headers.items()), content=body)
                # What the receiver says beyond the status is not read: it could be without end.
                async with request as response:
                    status = response.status
        except SourceForbidden as error:
            return error.code
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, TimeoutError) as error:
            return type(error).__name__
        return None if 200 <= status < 300 else str(status)
