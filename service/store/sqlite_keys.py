"""Statements about API keys and tickets; each runs inside a transaction of its caller."""

import sqlite3
from datetime import datetime

from service.access.keys import ApiKey
from service.errors import InvalidRequest, NotFound
from service.store.keys import Usage


def create(db: sqlite3.Connection, key: ApiKey) -> None:
    if _active_by_name(db, key.name) is not None:
        raise InvalidRequest(f"There is a key named {key.name!r} already; choose another name, or revoke it first.")
    db.execute("INSERT INTO keys (id, record) VALUES (?, ?)", (key.id, key.model_dump_json()))


def all_keys(db: sqlite3.Connection) -> list[ApiKey]:
    rows = db.execute("SELECT record FROM keys ORDER BY n")
    return [ApiKey.model_validate_json(row["record"]) for row in rows]


def exist(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM keys LIMIT 1").fetchone() is not None


def find(db: sqlite3.Connection, key_id: str) -> ApiKey | None:
    row = db.execute("SELECT record FROM keys WHERE id = ?", (key_id,)).fetchone()
    return None if row is None else ApiKey.model_validate_json(row["record"])


def revoke(db: sqlite3.Connection, id_or_name: str, *, now: datetime) -> ApiKey:
    key = find(db, id_or_name) or _active_by_name(db, id_or_name)
    if key is None:
        raise NotFound(f"There is no key with the id or name {id_or_name!r}; `cake keys list` shows all.")
    revoked = key.model_copy(update={"revoked_at": key.revoked_at or now})
    db.execute("UPDATE keys SET record = ? WHERE id = ?", (revoked.model_dump_json(), key.id))
    db.execute("DELETE FROM tickets WHERE key_id = ?", (key.id,))
    return revoked


def _active_by_name(db: sqlite3.Connection, name: str) -> ApiKey | None:
    return next((key for key in all_keys(db) if key.name == name and key.revoked_at is None), None)


def usage(db: sqlite3.Connection, key_id: str) -> Usage:
    row = db.execute(
        "SELECT count(*) FILTER (WHERE NOT ended), coalesce(sum(upload_bytes), 0) FROM sessions WHERE owner = ?",
        (key_id,),
    ).fetchone()
    return Usage(*row)


def add_ticket(db: sqlite3.Connection, digest: str, key_id: str, *, now: datetime, expires_at: datetime) -> None:
    db.execute("DELETE FROM tickets WHERE expires_at <= ?", (now.timestamp(),))
    db.execute("INSERT INTO tickets VALUES (?, ?, ?)", (digest, key_id, expires_at.timestamp()))


def redeem_ticket(db: sqlite3.Connection, digest: str, *, now: datetime) -> str | None:
    row = db.execute("DELETE FROM tickets WHERE digest = ? RETURNING key_id, expires_at", (digest,)).fetchone()
    if row is None or row["expires_at"] <= now.timestamp():
        return None
    key_id: str = row["key_id"]
    return key_id
