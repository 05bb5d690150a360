"""Events, scores and resume points in SQLite."""

import asyncio
import json
import math
import random
import sqlite3
import time
from array import array
from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Any

from pydantic_core import from_json, to_json

from service.access.sight import ALL, Sight
from service.event_schemas import Event, event_key
from service.schemas import ENDED_STATES, SessionState
from service.store.reading import Reader, parse_event, stored_update, unreadable_session
from service.store.records import (
    DetectorSnapshot,
    LoggedEvent,
    LogPage,
    ResumePoint,
    ScoreRow,
    SessionUpdate,
)
from service.store.rejections import lease_lost, require_end_event
from service.store.sqlite.database import Database
from service.store.sqlite.session_rows import BATCH, append_events, delete_resume_point, row_of
from service.store.sqlite.sight import Seen

READ_EVERY_S = 0.005
"""The log is read at most this often for waiting tasks, so events that arrive close together are read together."""

MAX_CURSOR = 2**63 - 1


class SqliteLog:
    """Implements `service.store.protocols.EventLog`."""

    def __init__(
        self, database: Database, *, scores_keep_s: float, events_keep_s: float, events_max: int, trim_every: int
    ) -> None:
        self._database = database
        self._scores_keep_s = scores_keep_s
        self._events_keep_s = events_keep_s
        self._events_max = events_max
        self._trim_every = trim_every
        self._waiting = False
        self._read_at_s = -math.inf

    async def load_resume_point(self, session_id: str) -> ResumePoint | None:
        return await self._database.read(lambda db: _load_resume_point(db, self._database.reader, session_id))

    async def commit(
        self,
        session_id: str,
        token: int,
        *,
        events: Sequence[Event] = (),
        resume_point: ResumePoint | None = None,
        update: SessionUpdate | None = None,
        scores: Sequence[ScoreRow] = (),
    ) -> None:

        def change(db: sqlite3.Connection) -> None:
            state = _save(db, self._database.reader, session_id, token, update, events)
            # At random, so that the work is spread and no session is left out.
            if random.random() * self._trim_every < len(events):
                _trim_events(db, session_id, events[-1].decided_s - self._events_keep_s, self._events_max)
            _append_scores(db, session_id, scores, self._scores_keep_s)
            if state in ENDED_STATES:
                delete_resume_point(db, session_id)
            elif resume_point is not None:
                _save_resume_point(db, session_id, resume_point)

        ends = update is not None and update.state in ENDED_STATES
        await self._database.write(change, notify=bool(events), essential=ends)

    async def read_events(self, session_id: str, *, after: str | None = None, limit: int = 500) -> list[Event]:
        return await self._database.read(lambda db: _read_events(db, self._database.reader, session_id, after, limit))

    async def read(self, *, after: str, limit: int = 500, sight: Sight = ALL) -> LogPage:
        return await self._database.read(
            lambda db: _read(db, self._database.reader, after, limit, sight, newest_first=False)
        )

    async def read_back(self, *, before: str | None = None, limit: int = 500, sight: Sight = ALL) -> LogPage:
        before = str(MAX_CURSOR) if before is None else before
        return await self._database.read(
            lambda db: _read(db, self._database.reader, before, limit, sight, newest_first=True)
        )

    async def in_sight(self, entries: Sequence[LoggedEvent], sight: Sight) -> list[LoggedEvent]:
        return await self._database.read(lambda db: _in_sight(db, self._database.reader, entries, sight))

    async def end(self) -> str:
        return await self._database.read(_end)

    async def wait(self, after: str, timeout_s: float) -> None:
        if self._waiting:
            raise RuntimeError("Only one task may wait for the log.")
        self._waiting = True
        try:
            self._database.notifier.subscribe()
            await asyncio.sleep(max(0.0, self._read_at_s + READ_EVERY_S - time.monotonic()))
            if not await self._database.read(lambda db: _has_more(db, after)):
                await self._database.notifier.wait(timeout_s)
            self._read_at_s = time.monotonic()
        finally:
            self._waiting = False

    async def read_scores(self, session_id: str, *, after_s: float | None = None, limit: int = 1000) -> list[ScoreRow]:
        return await self._database.read(lambda db: _read_scores(db, self._database.reader, session_id, after_s, limit))


def _save(
    db: sqlite3.Connection,
    reader: Reader,
    session_id: str,
    token: int,
    update: SessionUpdate | None,
    events: Sequence[Event],
) -> SessionState:
    """Add the events, change the record's fields, and return its state. Checks the fencing token.

    Other fields stay as they are stored: a commit neither parses them nor drops those of a newer version.
    """
    row = row_of(db, session_id)
    if row["ended"] or row["worker_id"] is None or row["token"] != token:
        raise lease_lost(session_id)
    fields = reader.read("session", session_id, lambda: dict[str, Any](from_json(row["record"])))
    if fields is None:
        raise unreadable_session()
    if update is not None:
        fields |= stored_update(update)
    state: SessionState = fields["state"]
    require_end_event(state, events)
    fields["last_event_id"] = append_events(db, session_id, row["owner"], fields.get("last_event_id"), events)
    db.execute(
        "UPDATE sessions SET state = ?, ended = ?, record = ? WHERE id = ?",
        (state, state in ENDED_STATES, to_json(fields).decode(), session_id),
    )
    return state


def _trim_events(db: sqlite3.Connection, session_id: str, oldest_s: float, keep: int) -> None:
    """Delete events before `oldest_s` and all but the newest `keep`, a batch at a time."""
    db.execute(
        """DELETE FROM events WHERE cursor IN (
             SELECT cursor FROM events WHERE session_id = :id AND (media_ms < :oldest_ms OR (media_ms, seq) <= (
               SELECT media_ms, seq FROM events WHERE session_id = :id ORDER BY media_ms DESC, seq DESC
               LIMIT 1 OFFSET :keep))
             ORDER BY media_ms, seq LIMIT :batch)""",
        {"id": session_id, "oldest_ms": oldest_s * 1000, "keep": keep, "batch": BATCH},
    )


def _save_resume_point(db: sqlite3.Connection, session_id: str, point: ResumePoint) -> None:
    db.execute(
        "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?)",
        (session_id, point.position_s, json.dumps(point.starts), point.frames),
    )
    if point.detector is not None:
        db.execute(
            "INSERT OR REPLACE INTO detectors VALUES (?, ?, ?)",
            (session_id, point.detector.position_s, point.detector.state),
        )


def _load_resume_point(db: sqlite3.Connection, reader: Reader, session_id: str) -> ResumePoint | None:
    row = db.execute("SELECT * FROM checkpoints WHERE session_id = ?", (session_id,)).fetchone()
    if row is None:
        return None
    saved = db.execute("SELECT position_s, state FROM detectors WHERE session_id = ?", (session_id,)).fetchone()
    snapshot = None if saved is None else DetectorSnapshot(saved["position_s"], saved["state"])
    return reader.read(
        "resume_point",
        session_id,
        lambda: ResumePoint(float(row["position_s"]), dict(json.loads(row["starts"])), int(row["frames"]), snapshot),
    )


def _append_scores(db: sqlite3.Connection, session_id: str, scores: Sequence[ScoreRow], keep_s: float) -> None:
    if not scores:
        return
    db.executemany(
        "INSERT OR IGNORE INTO scores VALUES (?, ?, ?)",
        [(session_id, row.pts_s, array("f", row.scores).tobytes()) for row in scores],
    )
    db.execute("DELETE FROM scores WHERE session_id = ? AND pts_s < ?", (session_id, scores[-1].pts_s - keep_s))


def _read_scores(
    db: sqlite3.Connection, reader: Reader, session_id: str, after_s: float | None, limit: int
) -> list[ScoreRow]:
    row_of(db, session_id)
    rows = db.execute(
        "SELECT pts_s, scores FROM scores WHERE session_id = ? AND (? IS NULL OR pts_s > ?) ORDER BY pts_s",
        (session_id, after_s, after_s),
    )
    scores = (reader.read("scores", session_id, partial(_score_row, row)) for row in rows)
    return list(islice((row for row in scores if row is not None), limit))


def _score_row(row: sqlite3.Row) -> ScoreRow:
    return ScoreRow(float(row["pts_s"]), array("f", row["scores"]).tolist())


def _read_events(db: sqlite3.Connection, reader: Reader, session_id: str, after: str | None, limit: int) -> list[Event]:
    row_of(db, session_id)
    media_ms, seq = (-1, -1) if after is None else event_key(after)
    rows = db.execute(
        "SELECT cursor, event, since_0_2 FROM events"
        " WHERE session_id = ? AND (media_ms, seq) > (?, ?) ORDER BY media_ms, seq",
        (session_id, media_ms, seq),
    )
    events = (reader.read("event", row["cursor"], partial(parse_event, row["event"], row["since_0_2"])) for row in rows)
    return list(islice((event for event in events if event is not None), limit))


def _read(
    db: sqlite3.Connection, reader: Reader, position: str, limit: int, sight: Sight, *, newest_first: bool
) -> LogPage:
    # The second condition is that of the partial index.
    of_owner = "" if sight.owner is None else "AND event_owner = :owner AND event_owner <> ''"
    beyond, order = ("<", "DESC") if newest_first else (">", "ASC")
    rows = db.execute(
        "SELECT cursor, session_id, event, since_0_2, event_owner FROM events"
        f" WHERE cursor {beyond} :position {of_owner} ORDER BY cursor {order}",
        {"position": int(position), "owner": sight.owner},
    )
    entries: list[LoggedEvent] = []
    cursor, seen = position, Seen(db, reader, sight)
    for row in rows:
        cursor = str(row["cursor"])
        if not seen.shows(row["session_id"], row["event_owner"] or None):
            continue
        event = reader.read("event", cursor, partial(parse_event, row["event"], row["since_0_2"]))
        if event is not None:
            entries.append(LoggedEvent(cursor, event, row["event_owner"] or None))
        if len(entries) == limit:
            break
    return LogPage(entries, cursor)


def _in_sight(
    db: sqlite3.Connection, reader: Reader, entries: Sequence[LoggedEvent], sight: Sight
) -> list[LoggedEvent]:
    seen = Seen(db, reader, sight)
    return [entry for entry in entries if seen.shows(entry.event.session_id, entry.owner)]


def _end(db: sqlite3.Connection) -> str:
    """The greatest cursor ever given, even if its event was deleted."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return "0" if row is None else str(row["seq"])


def _has_more(db: sqlite3.Connection, after: str) -> bool:
    return db.execute("SELECT 1 FROM events WHERE cursor > ? LIMIT 1", (int(after),)).fetchone() is not None
