"""Rows of sessions and of their events, as every part of the SQLite store reads and writes them in its transactions."""

import sqlite3
from collections.abc import Sequence

from service.event_schemas import Event, event_key
from service.schemas import ENDED_STATES
from service.store.reading import dump_event, dump_session
from service.store.records import SessionRecord, state_event
from service.store.rejections import unknown_session
from service.store.worker_records import LEASE_S

BATCH = 2000
"""Rows that one transaction deletes: it holds up other writers for some milliseconds only."""
LIVE_LEASE = f"(lease_until > :now AND lease_until <= :now + {LEASE_S})"
"""SQL: the lease has not expired. A lease beyond LEASE_S was written before the clock restarted."""


def row_of(db: sqlite3.Connection, session_id: str, owner: str | None = None) -> sqlite3.Row:
    """The row of a session that `owner` may see, in the caller's transaction. Raises NotFoundError."""
    row: sqlite3.Row | None = db.execute("SELECT * FROM sessions WHERE id = ?", (session_id,)).fetchone()
    if row is None or owner not in (None, row["owner"]):
        raise unknown_session()
    return row


def insert(db: sqlite3.Connection, record: SessionRecord, idempotency_key: str | None, digest: str) -> SessionRecord:
    """Save a new record and its first event."""
    first = state_event(record, "queued", time=record.created_at)
    record = record.model_copy(update={"last_event_id": first.id})
    db.execute(
        "INSERT INTO sessions (id, state, pace, model, cost, owner, upload_bytes, idempotency_key, digest, record)"
        " VALUES (:id, :state, :pace, :model_key, :cost_steps_per_s, :owner, :upload_bytes, :key, :digest, :record)",
        {
            **vars(record),
            "model_key": record.model_key,
            "key": idempotency_key,
            "digest": digest,
            "record": dump_session(record),
        },
    )
    if record.webhook is not None:
        url, secret = record.webhook.url.get_secret_value(), record.webhook.secret.get_secret_value()
        db.execute("INSERT INTO webhooks (session_id, url, secret) VALUES (?, ?, ?)", (record.id, url, secret))
    append_events(db, record.id, record.owner, None, [first])
    return record


def append_events(
    db: sqlite3.Connection, session_id: str, owner: str | None, newest: str | None, events: Sequence[Event]
) -> str | None:
    """Add the events that are newer than `newest`, an event id, and return the id of the newest event then."""
    for event in events:
        media_ms, seq = event_key(event.id)
        if newest is None or event_key(newest) < (media_ms, seq):
            newest = event.id
            db.execute(
                "INSERT INTO events (session_id, media_ms, seq, event, since_0_2, event_owner)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (session_id, media_ms, seq, *dump_event(event), owner or ""),
            )
    return newest


def append(db: sqlite3.Connection, record: SessionRecord, events: list[Event]) -> SessionRecord:
    """Save the record and its new events; events that are not newer than its newest are replays and are skipped."""
    newest = append_events(db, record.id, record.owner, record.last_event_id, events)
    record = record.model_copy(update={"last_event_id": newest})
    db.execute(
        "UPDATE sessions SET state = ?, ended = ?, token = ?, record = ? WHERE id = ?",
        (record.state, record.state in ENDED_STATES, record.token, dump_session(record), record.id),
    )
    return record


def delete_resume_point(db: sqlite3.Connection, session_id: str) -> None:
    """Drop the session's resume point and its detector snapshot."""
    for table in ("checkpoints", "detectors"):
        db.execute(f"DELETE FROM {table} WHERE session_id = ?", (session_id,))


def capacity_and_reserved(db: sqlite3.Connection, now_s: float) -> tuple[float, float]:
    """Steps per second of the live workers, and those reserved for sessions that have not ended."""
    (capacity,) = db.execute(
        f"SELECT coalesce(sum(capacity), 0.0) FROM workers WHERE {LIVE_LEASE}", {"now": now_s}
    ).fetchone()
    (reserved,) = db.execute("SELECT coalesce(sum(cost), 0.0) FROM sessions WHERE NOT ended").fetchone()
    return capacity, reserved
