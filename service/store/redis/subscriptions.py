"""Subscriptions in Redis. The server that delivers webhooks delivers these as well."""

from collections.abc import Sequence
from functools import partial

from service.store.delivery_protocols import SubscriptionLimits
from service.store.reading import parse_subscription
from service.store.redis.outbox import TAKE_OVER_AFTER_S
from service.store.redis.records import Argument
from service.store.redis.replies import id_of, translated
from service.store.redis.scripts import Scripts, name_of
from service.store.rejections import subscription_limit, unknown_subscription
from service.store.subscription_records import (
    DeliveryProgress,
    ProgressChange,
    StoredSubscription,
    SubscriptionRecord,
    SubscriptionState,
)


class RedisSubscriptions:
    """Implements `service.store.delivery_protocols.Subscriptions`. `deliverer_id` is unique to this process."""

    def __init__(self, scripts: Scripts, deliverer_id: str) -> None:
        self._scripts = scripts
        self._deliverer_id = deliverer_id

    async def create(self, record: SubscriptionRecord, *, cursor: str, limits: SubscriptionLimits) -> None:
        progress = DeliveryProgress(cursor=cursor).model_dump_json()
        arguments = (record.id, record.key_id or "", record.model_dump_json(), progress)
        status = await self._scripts.run("add_subscription", *arguments, limits.max_of_key, limits.max_in_all)
        if status == b"full":
            raise subscription_limit(limits)

    async def all(self, *, key_id: str | None = None) -> list[StoredSubscription]:
        client = self._scripts.client
        ids = [id_of(each) for each in await translated(client.zrange(name_of("subscriptions"), 0, -1))]
        async with client.pipeline(transaction=False) as pipe:
            for subscription_id in ids:
                pipe.hmget(name_of("subscription", subscription_id), "record", "state", "revision", "progress")
            rows = await translated(pipe.execute())
        found = [self._parsed(subscription_id, row) for subscription_id, row in zip(ids, rows, strict=True)]
        return [each for each in found if each is not None and key_id in (None, each.record.key_id)]

    async def get(self, subscription_id: str, *, key_id: str | None = None) -> StoredSubscription:
        key = name_of("subscription", subscription_id)
        row = await translated(self._scripts.client.hmget(key, "record", "state", "revision", "progress"))
        found = None if row[0] is None else self._parsed(subscription_id, row)
        if found is None or key_id not in (None, found.record.key_id):
            raise unknown_subscription()
        return found

    async def delete(self, subscription_id: str) -> None:
        await self._scripts.run("delete_subscription", subscription_id)

    async def change(
        self, subscription_id: str, state: SubscriptionState, *, progress: DeliveryProgress | None = None
    ) -> None:
        new_progress = "" if progress is None else progress.model_dump_json()
        await self._scripts.run("change_subscription", subscription_id, state, new_progress)

    async def replace(self, record: SubscriptionRecord, *, revision: int) -> bool:
        replaced = await self._scripts.run("replace_subscription", record.id, revision, record.model_dump_json())
        return bool(replaced)

    async def disable_all_of(self, key_id: str) -> None:
        await self._scripts.run("disable_subscriptions", key_id)

    async def drive(self) -> dict[str, int]:
        rows = await self._scripts.run("drive", self._deliverer_id, TAKE_OVER_AFTER_S)
        return {id_of(subscription_id): int(revision) for subscription_id, revision in rows}

    async def save_progress(self, changes: Sequence[ProgressChange]) -> set[str]:
        arguments: list[Argument] = [len(changes)]
        for change in changes:
            arguments += [change.subscription_id, change.revision, change.progress.model_dump_json(), change.state]
        moved = await self._scripts.run("save_progress", self._deliverer_id, TAKE_OVER_AFTER_S, *arguments)
        return {id_of(subscription_id) for subscription_id in moved}

    def _parsed(self, subscription_id: str, row: list[bytes | None]) -> StoredSubscription | None:
        return self._scripts.reader.read("subscription", subscription_id, partial(_subscription, row))


def _subscription(row: list[bytes | None]) -> StoredSubscription:
    """Raises ValueError."""
    record, state, revision, progress = row
    if record is None or state is None or revision is None or progress is None:
        raise ValueError("a field is missing")
    return parse_subscription(record, state, revision, progress)
