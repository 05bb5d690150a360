"""Webhooks as targets: signed POSTs with the event itself, or with a CloudEvent."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

import httpcore

from service.event_schemas import Event
from service.schemas import WebhookFormat
from service.store.subscription_records import StoredWebhookTarget
from service.subscriptions.cloudevents import binary, structured
from service.subscriptions.target import DeliveryFailedError, TargetMessage, Trial, event_message, trial_message
from service.webhooks.post import PostFailedError, post_signed


class WebhookTarget:
    """Implements `service.subscriptions.target.Target`. `clock` gives seconds since 1970."""

    def __init__(
        self,
        stored: StoredWebhookTarget,
        pool: httpcore.AsyncConnectionPool,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stored = stored
        self._pool = pool
        self._clock = clock

    async def deliver(self, event: Event) -> None:
        await self._post(event_message(event))

    async def test(self, trial: Trial) -> None:
        """Post a test message. Raises DeliveryFailedError."""
        await self._post(trial_message(trial))

    async def lost(self) -> None:
        await asyncio.Event().wait()

    async def _post(self, message: TargetMessage) -> None:
        headers, body = _formatted(message, self._stored.format)
        now_unix_s = self._clock()
        try:
            await post_signed(
                self._pool,
                self._stored.url.get_secret_value(),
                body,
                message_id=message.id,
                secrets=self._stored.secrets(datetime.fromtimestamp(now_unix_s, UTC)),
                headers=headers,
                now_unix_s=now_unix_s,
            )
        except PostFailedError as error:
            raise DeliveryFailedError(error.reason, wait_s=error.wait_s, is_final=error.is_final) from error


def _formatted(message: TargetMessage, wanted: WebhookFormat) -> tuple[dict[str, str], bytes]:
    """Headers and body."""
    match wanted:
        case "cloudevents":
            return structured(message)
        case "cloudevents-binary":
            return binary(message)
        case "standard":
            return {"content-type": "application/json"}, message.body
