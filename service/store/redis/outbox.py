"""Webhooks in Redis. One server at a time delivers them; when it stops renewing, another takes over."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

from pydantic import SecretStr

from service.store.reading import RETRY_AFTER_S, parse_attempt, parse_event, unreadable_webhook
from service.store.redis.replies import id_of, translated
from service.store.redis.scripts import Scripts, name_of
from service.store.webhook_records import (
    MAX_DELIVERY_ATTEMPTS,
    DeliveryAttempt,
    Webhook,
    WebhookBacklog,
    WebhookProgress,
    webhook_progress,
)

LOOKED_AT = 200
"""Webhooks whose oldest event `backlog` reads, those that have failed the longest first."""
TAKE_OVER_AFTER_S = 20.0
"""Longer than one delivery may take, after which the deliverer renews."""


class RedisOutbox:
    """Implements `service.store.delivery_protocols.Outbox`. `deliverer_id` is unique to this process."""

    def __init__(self, scripts: Scripts, deliverer_id: str) -> None:
        self._scripts = scripts
        self._id = deliverer_id
        self._has_delivered = False

    async def due(
        self,
        *,
        now_unix_s: float,
        limit: int,
        skip_sessions: Sequence[str] = (),
        skip_owners: Sequence[str] = (),
        skip_receivers: Sequence[str] = (),
    ) -> Sequence[Webhook]:
        skip = (json.dumps(list(skipped)) for skipped in (skip_sessions, skip_owners, skip_receivers))
        rows = await self._scripts.run("webhooks", self._id, TAKE_OVER_AFTER_S, now_unix_s, limit, *skip)
        self._has_delivered = True
        found: list[Webhook] = []
        for row in rows:
            webhook = self._scripts.reader.read("webhook", id_of(row[0]), partial(_webhook, row))
            if webhook is None:
                await self._scripts.run("postpone", row[0], now_unix_s + RETRY_AFTER_S)
            else:
                found.append(webhook)
        return found

    async def note_delivered(
        self, session_id: str, event_id: str, *, after: str | None, now_unix_s: float, last: bool
    ) -> bool:
        attempt = _attempt_json(DeliveryAttempt(event_id, now_unix_s, None))
        arguments = (session_id, event_id, after or "", int(last), attempt, MAX_DELIVERY_ATTEMPTS)
        return bool(await self._scripts.run("delivered", self._id, TAKE_OVER_AFTER_S, *arguments) == b"done")

    async def note_failed(
        self, session_id: str, event_id: str, *, reason: str, now_unix_s: float, retry_unix_s: float | None
    ) -> None:
        retry = "" if retry_unix_s is None else retry_unix_s
        attempt = _attempt_json(DeliveryAttempt(event_id, now_unix_s, reason))
        arguments = (session_id, now_unix_s, retry, attempt, MAX_DELIVERY_ATTEMPTS)
        await self._scripts.run("failed", self._id, TAKE_OVER_AFTER_S, *arguments)

    async def backlog(self, *, now_unix_s: float) -> WebhookBacklog:
        pending, events = await self._scripts.run("backlog", LOOKED_AT)
        found = (self._scripts.reader.read("event", event[:200], partial(parse_event, event)) for event in events)
        ages_s = [now_unix_s - event.time.timestamp() for event in found if event is not None]
        return WebhookBacklog(int(pending), max([0.0, *ages_s]))

    async def progress(self, session_id: str) -> WebhookProgress | None:
        client = self._scripts.client
        names = ("url", "secret", "delivered", "attempts", "failing_since", "old_secret", "old_secret_until", "try_at")
        *fields, try_at = await translated(client.hmget(name_of("webhook", session_id), *names))
        if fields[0] is None:
            return None
        async with client.pipeline(transaction=False) as pipe:
            pipe.lrange(name_of("deliveries", session_id), 0, -1)
            pipe.hget(name_of("session", session_id), "last_event_id")
            kept, last_event_id = await translated(pipe.execute())
        read = self._scripts.reader.read
        webhook = read("webhook", session_id, lambda: _webhook((session_id.encode(), None, *fields)))
        if webhook is None:
            raise unreadable_webhook()
        attempts = (read("delivery", session_id, partial(_attempt, attempt)) for attempt in kept)
        return webhook_progress(
            webhook,
            next_attempt_unix_s=None if try_at is None else float(try_at),
            attempts=[attempt for attempt in attempts if attempt is not None],
            is_complete=last_event_id is not None and json.loads(last_event_id) == webhook.delivered,
        )

    async def redeliver(self, session_id: str, *, after: str | None) -> None:
        await self._scripts.run("redeliver", session_id, after or "")

    async def disable_all_of(self, owner: str) -> None:
        await self._scripts.run("disable_webhooks", owner)

    async def rotate_secret(self, session_id: str, secret: SecretStr, *, old_until_unix_s: float) -> None:
        await self._scripts.run("rotate_secret", session_id, secret.get_secret_value(), old_until_unix_s)

    async def hand_over(self) -> None:
        """Let another server deliver immediately."""
        client = self._scripts.client
        if self._has_delivered and await translated(client.get(name_of("deliverer"))) == self._id.encode():
            await translated(client.delete(name_of("deliverer")))


def _webhook(row: Sequence[bytes | None]) -> Webhook:
    session_id, owner, url, secret, delivered, attempts, failing_since, old_secret, old_secret_until = (
        None if field is None else field.decode() for field in row
    )
    if session_id is None or url is None or secret is None:
        raise ValueError("a field is missing")
    return Webhook(
        session_id=session_id,
        url=SecretStr(url),
        secret=SecretStr(secret),
        delivered=delivered,
        attempts=int(attempts or 0),
        failing_since_unix_s=None if failing_since is None else float(failing_since),
        owner=None if owner is None else json.loads(owner),
        old_secret=None if old_secret is None else SecretStr(old_secret),
        old_secret_until_unix_s=float(old_secret_until or 0.0),
    )


def _attempt(text: bytes) -> DeliveryAttempt:
    return parse_attempt(json.loads(text))


def _attempt_json(attempt: DeliveryAttempt) -> str:
    return json.dumps(asdict(attempt))
