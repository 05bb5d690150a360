"""Webhooks in Redis. Of all servers one at a time delivers them; when it goes silent another takes over."""

import uuid
from collections.abc import Sequence

from service.store.redis_connect import Client
from service.store.redis_scripts import Scripts, key, translated
from service.webhooks.outbox import Webhook

# Longer than one delivery may take, after which the deliverer is heard of again.
TAKE_OVER_AFTER_S = 20.0


class RedisOutbox:
    """Implements `service.webhooks.outbox.Outbox`, see there."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._scripts = Scripts(client)
        self._id = uuid.uuid4().hex
        self._delivers = False

    async def due_webhooks(self, *, now_unix_s: float, limit: int) -> Sequence[Webhook]:
        rows = await self._scripts.run("webhooks", self._id, TAKE_OVER_AFTER_S, now_unix_s, limit)
        self._delivers = True
        return [_webhook(row) for row in rows]

    async def note_delivered(self, session_id: str, event_id: str, *, last: bool) -> None:
        await self._scripts.run("delivered", self._id, TAKE_OVER_AFTER_S, session_id, event_id, int(last))

    async def note_failed(self, session_id: str, *, now_unix_s: float, retry_unix_s: float | None) -> None:
        retry = "" if retry_unix_s is None else retry_unix_s
        await self._scripts.run("failed", self._id, TAKE_OVER_AFTER_S, session_id, now_unix_s, retry)

    async def hand_over(self) -> None:
        """Let another server deliver, at once."""
        if self._delivers and await translated(self._client.get(key("deliverer"))) == self._id.encode():
            await translated(self._client.delete(key("deliverer")))


def _webhook(row: Sequence[bytes | None]) -> Webhook:
    session_id, url, secret, delivered, attempts, failing_since = (None if f is None else f.decode() for f in row)
    assert session_id is not None
    assert url is not None
    assert secret is not None
    since_unix_s = None if failing_since is None else float(failing_since)
    return Webhook(session_id, url, secret, delivered, int(attempts or 0), since_unix_s)
