"""Starts of shadow versions in SQLite."""

import sqlite3
from collections.abc import Sequence
from functools import partial

from service.store.reading import parse_shadow_entry
from service.store.shadow_records import FollowedSpan, ShadowOfSession, ShadowStart, by_session
from service.store.sqlite.database import Database
from service.store.sqlite.session_rows import row_of


class SqliteShadows:
    """Implements `service.store.shadow_records.Shadows`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, key: str, session_id: str, span: FollowedSpan, starts: Sequence[ShadowStart], *, max_kept: int
    ) -> bool:
        return await self._database.write(lambda db: _add(db, key, session_id, span, starts, max_kept))

    async def of_version(self, key: str) -> list[ShadowOfSession]:
        query = "SELECT session_id, id, record FROM shadows WHERE key = ? ORDER BY session_id"
        found: dict[str, list[FollowedSpan | ShadowStart]] = {}
        for row in await self._database.read(lambda db: db.execute(query, (key,)).fetchall()):
            entry = self._database.reader.read("shadow", row["id"], partial(parse_shadow_entry, row["record"]))
            if entry is not None:
                found.setdefault(row["session_id"], []).append(entry)
        return [by_session(session_id, entries) for session_id, entries in found.items()]


def _add(
    db: sqlite3.Connection,
    key: str,
    session_id: str,
    span: FollowedSpan,
    starts: Sequence[ShadowStart],
    max_kept: int,
) -> bool:
    row_of(db, session_id)
    db.execute("DELETE FROM shadows WHERE session_id = ? AND key <> ?", (session_id, key))
    db.execute(
        "INSERT OR REPLACE INTO shadows (session_id, key, id, record) VALUES (?, ?, ?, ?)",
        (session_id, key, span.id, span.model_dump_json()),
    )
    [kept] = db.execute("SELECT count(*) FROM shadows WHERE session_id = ?", (session_id,)).fetchone()
    if kept + len(starts) > max_kept:
        return False
    db.executemany(
        "INSERT OR IGNORE INTO shadows (session_id, key, id, record) VALUES (?, ?, ?, ?)",
        [(session_id, key, start.id, start.model_dump_json()) for start in starts],
    )
    return True
