"""Sessions in SQLite."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import islice

from service.access.keys import Limits
from service.access.sight import ALL, Sight
from service.event_filter import EVERYTHING, EventFilter
from service.schemas import ENDED_STATES, SessionState
from service.store import admission
from service.store.reading import Reader, parse_session, unreadable_session
from service.store.records import WATCHED_S, SessionRecord, SettingsChange, requeued, state_event, with_change
from service.store.rejections import not_ended, require_changeable, unknown_session
from service.store.sqlite.database import Database
from service.store.sqlite.keys import usage_of
from service.store.sqlite.models import require_model
from service.store.sqlite.session_rows import (
    BATCH,
    LIVE_LEASE,
    append,
    capacity_and_reserved,
    delete_resume_point,
    insert,
    row_of,
)


class SqliteSessions:
    """Implements `service.store.protocols.Sessions`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        record: SessionRecord,
        *,
        max_queued: int,
        may_wait: bool = False,
        idempotency_key: str | None = None,
        digest: str = "",
        limits: Limits | None = None,
    ) -> SessionRecord:
        key = admission.scoped_idempotency_key(idempotency_key, record.owner)

        def change(db: sqlite3.Connection) -> SessionRecord:
            earlier = _earlier(db, self._database.reader, key, digest)
            if earlier is not None:
                return earlier
            if limits is not None and record.owner is not None:
                _check_limits(db, record.owner, limits, record.upload_bytes)
            _check_capacity(db, record.cost_steps_per_s, max_queued, may_wait, self._database.now_s())
            if record.is_version_pinned:
                require_model(db, record.model_key)
            return insert(db, record, key, digest)

        return await self._database.write(change, notify=True)

    async def get(self, session_id: str, *, sight: Sight = ALL) -> SessionRecord:
        return await self._database.read(lambda db: _get(db, self._database.reader, session_id, sight))

    async def page(
        self,
        *,
        limit: int,
        before: str | None = None,
        state: SessionState | None = None,
        wanted: EventFilter = EVERYTHING,
        sight: Sight = ALL,
    ) -> tuple[list[SessionRecord], str | None]:
        return await self._database.read(
            lambda db: _page(db, self._database.reader, limit, before, state, wanted, sight)
        )

    async def live(self, *, limit: int, sight: Sight = ALL) -> list[SessionRecord]:
        return await self._database.read(lambda db: _live(db, self._database.reader, limit, sight))

    async def change(self, session_id: str, change: SettingsChange) -> SessionRecord:
        return await self._database.write(lambda db: _change(db, self._database.reader, session_id, change))

    async def request_stop(self, session_id: str) -> SessionRecord:
        return await self._database.write(
            lambda db: _request_stop(db, self._database.reader, session_id, self._database.now_s(), datetime.now(UTC)),
            notify=True,
            essential=True,
        )

    async def unowned(self) -> list[str]:
        return await self._database.read(lambda db: _unowned(db, self._database.now_s()))

    async def requeue(self, session_id: str, detail: str) -> bool:
        return await self._database.write(
            lambda db: _requeue(
                db, self._database.reader, session_id, detail, self._database.now_s(), datetime.now(UTC)
            ),
            notify=True,
        )

    async def watch(self, session_id: str) -> None:
        until_s = self._database.now_s() + WATCHED_S
        await self._database.write(
            lambda db: db.execute(
                "UPDATE sessions SET watched_until = ? WHERE id = ? AND NOT ended", (until_s, session_id)
            )
        )

    async def ended_before(self, moment: datetime, *, limit: int) -> list[str]:
        return await self._database.read(lambda db: _ended_before(db, moment, limit))

    async def existing(self, session_ids: Sequence[str]) -> set[str]:
        return await self._database.read(lambda db: _existing(db, session_ids))

    async def require_ended(self, session_id: str) -> None:
        await self._database.read(lambda db: _require_ended(db, session_id))

    async def delete(self, session_id: str) -> None:
        await self.require_ended(session_id)
        for delete_some in (_delete_some_events, _delete_some_scores):
            began_s = time.monotonic()
            while await self._database.write(partial(delete_some, session_id=session_id), essential=True):
                # Other processes poll for the lock: leave it free for as long as it was held.
                await asyncio.sleep(time.monotonic() - began_s)
                began_s = time.monotonic()
        await self._database.write(lambda db: _delete(db, session_id), essential=True)
        await self._database.wipe_deleted()


def _earlier(db: sqlite3.Connection, reader: Reader, idempotency_key: str | None, digest: str) -> SessionRecord | None:
    """The session that was created with the same key before."""
    row = db.execute("SELECT id, digest, record FROM sessions WHERE idempotency_key = ?", (idempotency_key,)).fetchone()
    if row is None:
        return None
    if row["digest"] != digest:
        raise admission.idempotency_conflict()
    return _record(reader, row)


def _check_limits(db: sqlite3.Connection, owner: str, limits: Limits, upload_bytes: int) -> None:
    used = usage_of(db, owner)
    if used.sessions >= limits.max_sessions:
        raise admission.session_limit(limits)
    if used.stored_bytes + upload_bytes > limits.max_stored_bytes:
        raise admission.storage_limit(limits, used.stored_bytes)


def _check_capacity(
    db: sqlite3.Connection, cost_steps_per_s: float, max_queued: int, may_wait: bool, now_s: float
) -> None:
    capacity, reserved = capacity_and_reserved(db, now_s)
    if not may_wait and reserved + cost_steps_per_s > capacity:
        raise admission.over_capacity(capacity, reserved, cost_steps_per_s)
    (queued,) = db.execute("SELECT count(*) FROM sessions WHERE state = 'queued'").fetchone()
    if queued >= max_queued:
        raise admission.queue_full(queued)


def _record(reader: Reader, row: sqlite3.Row) -> SessionRecord:
    record = reader.read("session", row["id"], lambda: parse_session(row["record"]))
    if record is None:
        raise unreadable_session()
    return record


def _get(db: sqlite3.Connection, reader: Reader, session_id: str, sight: Sight = ALL) -> SessionRecord:
    record = _record(reader, row_of(db, session_id, sight.owner))
    if not sight.shows(record.owner, record.metadata):
        raise unknown_session()
    return record


def _page(
    db: sqlite3.Connection,
    reader: Reader,
    limit: int,
    before: str | None,
    state: SessionState | None,
    wanted: EventFilter,
    sight: Sight,
) -> tuple[list[SessionRecord], str | None]:
    rows = db.execute(
        "SELECT n, id, record FROM sessions WHERE (:before IS NULL OR n < :before)"
        " AND (:state IS NULL OR state = :state) AND (:owner IS NULL OR owner = :owner) ORDER BY n DESC",
        {"before": None if before is None else int(before), "state": state, "owner": sight.owner},
    )
    found: list[tuple[int, SessionRecord]] = []
    for row in rows:
        record = reader.read("session", row["id"], partial(parse_session, row["record"]))
        if (
            record is not None
            and wanted.passes_session(record.id, record.name, record.metadata)
            and sight.shows(record.owner, record.metadata)
        ):
            found.append((row["n"], record))
        if len(found) > limit:
            return [record for _, record in found[:limit]], str(found[limit - 1][0])
    return [record for _, record in found], None


def _live(db: sqlite3.Connection, reader: Reader, limit: int, sight: Sight) -> list[SessionRecord]:
    rows = db.execute("SELECT id, record FROM sessions WHERE NOT ended ORDER BY n")
    found = (reader.read("session", row["id"], partial(parse_session, row["record"])) for row in rows)
    shown = (record for record in found if record is not None and sight.shows(record.owner, record.metadata))
    return list(islice(shown, limit))


def _change(db: sqlite3.Connection, reader: Reader, session_id: str, change: SettingsChange) -> SessionRecord:
    record = _get(db, reader, session_id)
    require_changeable(record, change)
    changed = with_change(record, change)
    if changed.model_key != record.model_key:
        require_model(db, changed.model_key)
        db.execute("UPDATE sessions SET model = ? WHERE id = ?", (changed.model_key, session_id))
    return append(db, changed, [])


def _request_stop(
    db: sqlite3.Connection, reader: Reader, session_id: str, now_s: float, time: datetime
) -> SessionRecord:
    record = _get(db, reader, session_id)
    if record.state in ENDED_STATES:
        return record
    asked = db.execute(
        f"UPDATE sessions SET stop_requested = 1 WHERE id = :id AND worker_id IS NOT NULL AND {LIVE_LEASE}",
        {"id": session_id, "now": now_s},
    )
    if asked.rowcount:
        return record
    stopped = record.model_copy(update={"state": "stopped", "ended_at": time, "token": record.token + 1})
    delete_resume_point(db, session_id)
    return append(db, stopped, [state_event(record, "stopped", time=time)])


def _unowned(db: sqlite3.Connection, now_s: float) -> list[str]:
    rows = db.execute(
        f"""SELECT id FROM sessions WHERE NOT ended AND state != 'queued'
            AND (worker_id IS NULL OR NOT {LIVE_LEASE}) ORDER BY n""",
        {"now": now_s},
    )
    return [row["id"] for row in rows]


def _requeue(
    db: sqlite3.Connection, reader: Reader, session_id: str, detail: str, now_s: float, time: datetime
) -> bool:
    freed = db.execute(
        f"""UPDATE sessions SET worker_id = NULL
            WHERE id = :id AND NOT ended AND (worker_id IS NULL OR NOT {LIVE_LEASE})""",
        {"id": session_id, "now": now_s},
    )
    if not freed.rowcount:
        return False
    record = _get(db, reader, session_id)
    update = {**requeued(record, detail).model_dump(exclude_unset=True), "token": record.token + 1}
    append(db, record.model_copy(update=update), [state_event(record, "queued", time=time, detail=detail)])
    return True


def _ended_before(db: sqlite3.Connection, moment: datetime, limit: int) -> list[str]:
    rows = db.execute(
        "SELECT id, julianday(CASE WHEN json_valid(record) THEN json_extract(record, '$.ended_at') END) day"
        " FROM sessions WHERE ended AND day < julianday(?) ORDER BY day LIMIT ?",
        (moment.isoformat(), limit),
    )
    return [row["id"] for row in rows]


def _existing(db: sqlite3.Connection, session_ids: Sequence[str]) -> set[str]:
    rows = db.execute(
        "SELECT id FROM sessions WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(list(session_ids)),)
    )
    return {row["id"] for row in rows}


def _require_ended(db: sqlite3.Connection, session_id: str) -> None:
    if not row_of(db, session_id)["ended"]:
        raise not_ended()


def _delete_some_events(db: sqlite3.Connection, session_id: str) -> bool:
    query = "DELETE FROM events WHERE cursor IN (SELECT cursor FROM events WHERE session_id = ? LIMIT ?)"
    return db.execute(query, (session_id, BATCH)).rowcount == BATCH


def _delete_some_scores(db: sqlite3.Connection, session_id: str) -> bool:
    some = "SELECT session_id, pts_s FROM scores WHERE session_id = ? LIMIT ?"
    query = f"DELETE FROM scores WHERE (session_id, pts_s) IN ({some})"
    return db.execute(query, (session_id, BATCH)).rowcount == BATCH


def _delete(db: sqlite3.Connection, session_id: str) -> None:
    _require_ended(db, session_id)
    db.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
