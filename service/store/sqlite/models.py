"""Uploaded models in SQLite."""

import json
import sqlite3
from collections.abc import Sequence
from functools import partial

from service.store.model_records import UploadedModel
from service.store.reading import parse_model
from service.store.rejections import model_gone, model_in_use, model_limit
from service.store.sqlite.database import Database


class SqliteModels:
    """Implements `service.store.protocols.Models`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, model: UploadedModel, *, max_kept: int) -> None:
        await self._database.write(lambda db: _put(db, model, max_kept))

    async def all(self) -> list[UploadedModel]:
        rows = await self._database.read(lambda db: db.execute("SELECT key, record FROM models").fetchall())
        read = self._database.reader.read
        found = [read("model", row["key"], partial(parse_model, row["record"])) for row in rows]
        return sorted((each for each in found if each is not None), key=lambda each: each.uploaded_at)

    async def delete(self, keys: Sequence[str]) -> None:
        await self._database.write(lambda db: _delete(db, keys), essential=True)


def require_model(db: sqlite3.Connection, key: str) -> None:
    """Check, in the caller's transaction, that the version is stored. Raises UnknownModelError."""
    if db.execute("SELECT 1 FROM models WHERE key = ?", (key,)).fetchone() is None:
        raise model_gone(key)


def _put(db: sqlite3.Connection, model: UploadedModel, max_kept: int) -> None:
    [others] = db.execute("SELECT count(*) FROM models WHERE key <> ?", (model.key,)).fetchone()
    if others >= max_kept:
        raise model_limit(max_kept)
    db.execute("INSERT OR REPLACE INTO models (key, record) VALUES (?, ?)", (model.key, model.model_dump_json()))


def _delete(db: sqlite3.Connection, keys: Sequence[str]) -> None:
    chosen = (json.dumps(list(keys)),)
    query = "SELECT count(*) FROM sessions WHERE NOT ended AND model IN (SELECT value FROM json_each(?))"
    [sessions] = db.execute(query, chosen).fetchone()
    if sessions:
        raise model_in_use(sessions)
    db.execute("DELETE FROM models WHERE key IN (SELECT value FROM json_each(?))", chosen)
    db.execute("DELETE FROM shadows WHERE key IN (SELECT value FROM json_each(?))", chosen)
