"""Subscriptions in SQLite. A data folder has a single server, which delivers."""

import sqlite3
from collections.abc import Iterable, Sequence
from functools import partial

from service.store.delivery_protocols import SubscriptionLimits
from service.store.reading import parse_subscription
from service.store.rejections import subscription_limit, unknown_subscription
from service.store.sqlite.database import Database
from service.store.subscription_records import (
    DeliveryProgress,
    ProgressChange,
    StoredSubscription,
    SubscriptionRecord,
    SubscriptionState,
)

_COLUMNS = "SELECT id, record, state, revision, progress FROM subscriptions"


class SqliteSubscriptions:
    """Implements `service.store.delivery_protocols.Subscriptions`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, record: SubscriptionRecord, *, cursor: str, limits: SubscriptionLimits) -> None:
        await self._database.write(lambda db: _create(db, record, DeliveryProgress(cursor=cursor), limits))

    async def all(self, *, key_id: str | None = None) -> list[StoredSubscription]:
        query = f"{_COLUMNS} WHERE ? IS NULL OR key_id = ? ORDER BY n"
        rows = await self._database.read(lambda db: db.execute(query, (key_id, key_id)).fetchall())
        return self._readable(rows)

    async def get(self, subscription_id: str, *, key_id: str | None = None) -> StoredSubscription:
        query = f"{_COLUMNS} WHERE id = ? AND (? IS NULL OR key_id = ?)"
        rows = await self._database.read(lambda db: db.execute(query, (subscription_id, key_id, key_id)).fetchall())
        found = self._readable(rows)
        if not found:
            raise unknown_subscription()
        return found[0]

    async def delete(self, subscription_id: str) -> None:
        query = "DELETE FROM subscriptions WHERE id = ?"
        await self._database.write(lambda db: db.execute(query, (subscription_id,)), essential=True)
        await self._database.wipe_deleted()

    async def change(
        self, subscription_id: str, state: SubscriptionState, *, progress: DeliveryProgress | None = None
    ) -> None:
        query = """UPDATE subscriptions SET state = ?, progress = coalesce(?, progress), revision = revision + 1
                   WHERE id = ?"""
        values = (state, None if progress is None else progress.model_dump_json(), subscription_id)
        await self._database.write(lambda db: db.execute(query, values))

    async def replace(self, record: SubscriptionRecord, *, revision: int) -> bool:
        query = "UPDATE subscriptions SET record = ?, revision = revision + 1 WHERE id = ? AND revision = ?"
        values = (record.model_dump_json(), record.id, revision)
        return await self._database.write(lambda db: db.execute(query, values).rowcount > 0)

    async def disable_all_of(self, key_id: str) -> None:
        query = "UPDATE subscriptions SET state = 'disabled', revision = revision + 1 WHERE key_id = ?"
        await self._database.write(lambda db: db.execute(query, (key_id,)), essential=True)

    async def drive(self) -> dict[str, int]:
        query = """SELECT id, revision FROM subscriptions
                   WHERE state = 'active' AND typeof(id) = 'text' AND typeof(revision) = 'integer'"""
        return await self._database.read(lambda db: {row["id"]: row["revision"] for row in db.execute(query)})

    async def save_progress(self, changes: Sequence[ProgressChange]) -> set[str]:
        return await self._database.write(lambda db: _save_progress(db, changes))

    def _readable(self, rows: Iterable[sqlite3.Row]) -> list[StoredSubscription]:
        read = self._database.reader.read
        found = (read("subscription", row["id"], partial(parse_subscription, *tuple(row)[1:])) for row in rows)
        return [subscription for subscription in found if subscription is not None]


def _create(
    db: sqlite3.Connection, record: SubscriptionRecord, progress: DeliveryProgress, limits: SubscriptionLimits
) -> None:
    [counts] = db.execute("SELECT count(*), count(*) FILTER (WHERE key_id IS ?) FROM subscriptions", (record.key_id,))
    if counts[0] >= limits.max_in_all or counts[1] >= limits.max_of_key:
        raise subscription_limit(limits)
    db.execute(
        "INSERT INTO subscriptions (id, key_id, record, state, progress) VALUES (?, ?, ?, 'active', ?)",
        (record.id, record.key_id, record.model_dump_json(), progress.model_dump_json()),
    )


def _save_progress(db: sqlite3.Connection, changes: Sequence[ProgressChange]) -> set[str]:
    query = "UPDATE subscriptions SET progress = ?, state = ? WHERE id = ? AND revision = ? AND state = 'active'"
    moved = set()
    for change in changes:
        values = (change.progress.model_dump_json(), change.state, change.subscription_id, change.revision)
        if db.execute(query, values).rowcount == 0:
            moved.add(change.subscription_id)
    return moved
