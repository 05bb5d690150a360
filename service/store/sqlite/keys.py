"""API keys and tickets in SQLite."""

import sqlite3
from collections.abc import Callable
from datetime import datetime
from functools import partial

from service.access.keys import ApiKey
from service.store.reading import Reader, read_stored_key
from service.store.records import KeyUsage
from service.store.rejections import key_name_taken, unknown_key
from service.store.sqlite.database import Database


class SqliteKeys:
    """Implements `service.store.key_protocol.Keys`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, key: ApiKey) -> None:
        await self._database.write(lambda db: _create(db, self._database.reader, key))

    async def admit(self, key: ApiKey) -> ApiKey:
        return await self._database.write(lambda db: _admit(db, self._database.reader, key))

    async def change(self, key_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey:
        return await self._database.write(lambda db: _change(db, self._database.reader, key_id, change))

    async def all(self) -> list[ApiKey]:
        return await self._database.read(lambda db: _all(db, self._database.reader))

    async def exist(self) -> bool:
        return await self._database.read(lambda db: db.execute("SELECT 1 FROM keys LIMIT 1").fetchone() is not None)

    async def find(self, key_id: str) -> ApiKey | None:
        return await self._database.read(lambda db: _find(db, self._database.reader, key_id))

    async def revoke(self, id_or_name: str, *, now: datetime) -> ApiKey:
        return await self._database.write(lambda db: _revoke(db, self._database.reader, id_or_name, now))

    async def note_used(self, key_id: str, *, now: datetime) -> None:
        query = "UPDATE keys SET last_used_at = ? WHERE id = ?"
        await self._database.write(lambda db: db.execute(query, (now.isoformat(), key_id)))

    async def usage(self, key_id: str) -> KeyUsage:
        return await self._database.read(lambda db: usage_of(db, key_id))

    async def add_ticket(self, digest: str, key_id: str, *, now: datetime, expires_at: datetime) -> None:
        await self._database.write(lambda db: _add_ticket(db, digest, key_id, now, expires_at))

    async def redeem_ticket(self, digest: str, *, now: datetime) -> str | None:
        # Anyone can send unknown tickets: they must not occupy the only writer.
        if await self.find_ticket(digest, now=now) is None:
            return None
        return await self._database.write(lambda db: _redeem_ticket(db, digest, now))

    async def find_ticket(self, digest: str, *, now: datetime) -> str | None:
        return await self._database.read(lambda db: _find_ticket(db, digest, now))


def usage_of(db: sqlite3.Connection, key_id: str) -> KeyUsage:
    """What one key uses, in the caller's transaction."""
    row = db.execute(
        "SELECT count(*) FILTER (WHERE NOT ended), coalesce(sum(upload_bytes), 0) FROM sessions WHERE owner = ?",
        (key_id,),
    ).fetchone()
    return KeyUsage(*row)


def _create(db: sqlite3.Connection, reader: Reader, key: ApiKey) -> None:
    if _active_by_name(db, reader, key.name) is not None:
        raise key_name_taken(key.name)
    db.execute("INSERT INTO keys (id, record) VALUES (?, ?)", (key.id, key.model_dump_json()))


def _admit(db: sqlite3.Connection, reader: Reader, key: ApiKey) -> ApiKey:
    db.execute("INSERT INTO keys (id, record) VALUES (?, ?) ON CONFLICT DO NOTHING", (key.id, key.model_dump_json()))
    return _known(db, reader, key.id)


def _change(db: sqlite3.Connection, reader: Reader, key_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey:
    key = _known(db, reader, key_id)
    changed = change(key)
    db.execute("UPDATE keys SET record = ? WHERE id = ?", (changed.model_dump_json(), key.id))
    return changed


def _all(db: sqlite3.Connection, reader: Reader) -> list[ApiKey]:
    rows = db.execute("SELECT id, record, last_used_at FROM keys ORDER BY n")
    keys = (reader.read("key", row["id"], partial(read_stored_key, row["record"], row["last_used_at"])) for row in rows)
    return [key for key in keys if key is not None]


def _find(db: sqlite3.Connection, reader: Reader, key_id: str) -> ApiKey | None:
    row = db.execute("SELECT record, last_used_at FROM keys WHERE id = ?", (key_id,)).fetchone()
    return (
        None if row is None else reader.read("key", key_id, lambda: read_stored_key(row["record"], row["last_used_at"]))
    )


def _known(db: sqlite3.Connection, reader: Reader, key_id: str) -> ApiKey:
    """Raises NotFoundError, also for a key that cannot be read: it may have been revoked."""
    key = _find(db, reader, key_id)
    if key is None:
        raise unknown_key(key_id)
    return key


def _active_by_name(db: sqlite3.Connection, reader: Reader, name: str) -> ApiKey | None:
    keys = (key for key in _all(db, reader) if key.person is None and key.revoked_at is None)
    return next((key for key in keys if key.name == name), None)


def _revoke(db: sqlite3.Connection, reader: Reader, id_or_name: str, now: datetime) -> ApiKey:
    key = _find(db, reader, id_or_name) or _active_by_name(db, reader, id_or_name)
    if key is None:
        raise unknown_key(id_or_name)
    revoked = key.model_copy(update={"revoked_at": key.revoked_at or now})
    db.execute("UPDATE keys SET record = ? WHERE id = ?", (revoked.model_dump_json(), key.id))
    db.execute("DELETE FROM tickets WHERE key_id = ?", (key.id,))
    return revoked


def _add_ticket(db: sqlite3.Connection, digest: str, key_id: str, now: datetime, expires_at: datetime) -> None:
    db.execute("DELETE FROM tickets WHERE expires_at <= ?", (now.timestamp(),))
    db.execute("INSERT INTO tickets VALUES (?, ?, ?)", (digest, key_id, expires_at.timestamp()))


def _find_ticket(db: sqlite3.Connection, digest: str, now: datetime) -> str | None:
    sql = "SELECT key_id FROM tickets WHERE digest = ? AND expires_at > ?"
    row = db.execute(sql, (digest, now.timestamp())).fetchone()
    key_id: str | None = None if row is None else row["key_id"]
    return key_id


def _redeem_ticket(db: sqlite3.Connection, digest: str, now: datetime) -> str | None:
    row = db.execute("DELETE FROM tickets WHERE digest = ? RETURNING key_id, expires_at", (digest,)).fetchone()
    if row is None or row["expires_at"] <= now.timestamp():
        return None
    key_id: str = row["key_id"]
    return key_id
