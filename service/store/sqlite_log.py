"""Statements about events, scores and checkpoints; each runs inside a transaction of its caller."""

import json
import sqlite3
from array import array
from collections.abc import Sequence

from service.schemas import ENDED_STATES, EVENT, Event, event_key
from service.store import refusals
from service.store.base import LoggedEvent, ScoreRow, SessionRecord, SessionUpdate
from service.store.checkpoint import Checkpoint, Remembered
from service.store.sqlite_sessions import append, delete_checkpoint, row_of


def commit(
    db: sqlite3.Connection,
    session_id: str,
    token: int,
    *,
    events: Sequence[Event],
    checkpoint: Checkpoint | None,
    update: SessionUpdate | None,
    scores: Sequence[ScoreRow],
    scores_keep_s: float,
) -> None:
    row = row_of(db, session_id)
    if row["ended"] or row["worker_id"] is None or row["token"] != token:
        raise refusals.lease_lost(session_id)
    record = SessionRecord.model_validate_json(row["record"])
    if update is not None:
        record = record.model_copy(update={name: getattr(update, name) for name in update.model_fields_set})
    refusals.require_end_event(record.state, events)
    append(db, record, list(events))
    _append_scores(db, session_id, scores, scores_keep_s)
    if record.state in ENDED_STATES:
        delete_checkpoint(db, session_id)
    elif checkpoint is not None:
        _save_checkpoint(db, session_id, checkpoint)


def _save_checkpoint(db: sqlite3.Connection, session_id: str, checkpoint: Checkpoint) -> None:
    db.execute(
        "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?)",
        (session_id, checkpoint.position_s, json.dumps(checkpoint.starts), checkpoint.frames),
    )
    if checkpoint.detector is not None:
        db.execute(
            "INSERT OR REPLACE INTO detectors VALUES (?, ?, ?)",
            (session_id, checkpoint.detector.position_s, checkpoint.detector.state),
        )


def _append_scores(db: sqlite3.Connection, session_id: str, scores: Sequence[ScoreRow], keep_s: float) -> None:
    if not scores:
        return
    db.executemany(
        "INSERT OR IGNORE INTO scores VALUES (?, ?, ?)",
        [(session_id, row.pts_s, array("f", row.scores).tobytes()) for row in scores],
    )
    db.execute("DELETE FROM scores WHERE session_id = ? AND pts_s < ?", (session_id, scores[-1].pts_s - keep_s))


def load_checkpoint(db: sqlite3.Connection, session_id: str) -> Checkpoint | None:
    row = db.execute("SELECT * FROM checkpoints WHERE session_id = ?", (session_id,)).fetchone()
    if row is None:
        return None
    kept = db.execute("SELECT position_s, state FROM detectors WHERE session_id = ?", (session_id,)).fetchone()
    remembered = None if kept is None else Remembered(kept["position_s"], kept["state"])
    return Checkpoint(row["position_s"], json.loads(row["starts"]), row["frames"], remembered)


def read_events(db: sqlite3.Connection, session_id: str, after: str | None, limit: int) -> list[Event]:
    row_of(db, session_id)
    media_ms, seq = (-1, -1) if after is None else event_key(after)
    rows = db.execute(
        "SELECT event FROM events WHERE session_id = ? AND (media_ms, seq) > (?, ?) ORDER BY media_ms, seq LIMIT ?",
        (session_id, media_ms, seq, limit),
    )
    return [EVENT.validate_json(row["event"]) for row in rows]


def read_log(db: sqlite3.Connection, after: str, limit: int, owner: str | None) -> list[LoggedEvent]:
    rows = db.execute(
        "SELECT cursor, event, owner FROM events JOIN sessions ON sessions.id = session_id"
        " WHERE cursor > :after AND (:owner IS NULL OR owner = :owner) ORDER BY cursor LIMIT :limit",
        {"after": int(after), "owner": owner, "limit": limit},
    )
    return [LoggedEvent(str(row["cursor"]), EVENT.validate_json(row["event"]), row["owner"]) for row in rows]


def log_end(db: sqlite3.Connection) -> str:
    """The greatest cursor ever given, deleted events included."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return "0" if row is None else str(row["seq"])


def has_more(db: sqlite3.Connection, after: str) -> bool:
    return db.execute("SELECT 1 FROM events WHERE cursor > ? LIMIT 1", (int(after),)).fetchone() is not None


def read_scores(db: sqlite3.Connection, session_id: str, after_s: float | None, limit: int) -> list[ScoreRow]:
    row_of(db, session_id)
    rows = db.execute(
        "SELECT pts_s, scores FROM scores WHERE session_id = ? AND (? IS NULL OR pts_s > ?) ORDER BY pts_s LIMIT ?",
        (session_id, after_s, after_s, limit),
    )
    return [ScoreRow(row["pts_s"], array("f", row["scores"]).tolist()) for row in rows]
