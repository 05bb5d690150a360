"""Statements about sessions as the API sees them; each runs inside a transaction of its caller."""

import sqlite3
from datetime import datetime

from service.access.keys import Limits
from service.schemas import ENDED_STATES, EVENT, Event, SessionState, event_key
from service.store import refusals
from service.store.base import LEASE_S, WATCHED_S, SessionRecord, state_event
from service.store.sqlite_keys import usage

LIVE_LEASE = f"(lease_until > :now AND lease_until <= :now + {LEASE_S})"
"""A lease further ahead than one can be given was written before the machine, and so its clock, started again."""


def create(
    db: sqlite3.Connection,
    record: SessionRecord,
    *,
    max_queued: int,
    may_wait: bool,
    idempotency_key: str | None,
    digest: str,
    limits: Limits | None,
    now: float,
) -> SessionRecord:
    idempotency_key = refusals.scoped_idempotency_key(idempotency_key, record.owner)
    earlier = db.execute("SELECT digest, record FROM sessions WHERE idempotency_key = ?", (idempotency_key,)).fetchone()
    if earlier is not None:
        if earlier["digest"] != digest:
            raise refusals.idempotency_conflict()
        return SessionRecord.model_validate_json(earlier["record"])
    if limits is not None and record.owner is not None:
        _keep_limits(db, record.owner, limits, record.upload_bytes)
    _admit(db, record.cost_steps_per_s, max_queued, may_wait, now)
    db.execute(
        "INSERT INTO sessions (id, state, pace, model, cost, owner, upload_bytes, idempotency_key, digest, record)"
        " VALUES (:id, :state, :pace, :model, :cost_steps_per_s, :owner, :upload_bytes, :key, :digest, '')",
        {**record.model_dump(mode="json", exclude={"source", "webhook"}), "key": idempotency_key, "digest": digest},
    )
    if record.webhook is not None:
        target = record.webhook
        db.execute(
            "INSERT INTO webhooks (session_id, url, secret) VALUES (?, ?, ?)", (record.id, target.url, target.secret)
        )
    return append(db, record, [state_event(record, "queued", time=record.created_at)])


def _keep_limits(db: sqlite3.Connection, owner: str, limits: Limits, upload_bytes: int) -> None:
    used = usage(db, owner)
    if used.sessions >= limits.max_sessions:
        raise refusals.session_limit(limits)
    if used.stored_bytes + upload_bytes > limits.max_stored_bytes:
        raise refusals.storage_limit(limits, used.stored_bytes)


def _admit(db: sqlite3.Connection, cost_steps_per_s: float, max_queued: int, may_wait: bool, now: float) -> None:
    capacity, reserved = capacity_and_reserved(db, now)
    if not may_wait and reserved + cost_steps_per_s > capacity:
        raise refusals.over_capacity(capacity, reserved, cost_steps_per_s)
    (queued,) = db.execute("SELECT count(*) FROM sessions WHERE state = 'queued'").fetchone()
    if queued >= max_queued:
        raise refusals.too_many_wait(queued)


def capacity_and_reserved(db: sqlite3.Connection, now: float) -> tuple[float, float]:
    """Steps per second of the live workers, and those set aside for sessions that have not ended."""
    (capacity,) = db.execute(
        f"SELECT coalesce(sum(capacity), 0.0) FROM workers WHERE {LIVE_LEASE}", {"now": now}
    ).fetchone()
    (reserved,) = db.execute("SELECT coalesce(sum(cost), 0.0) FROM sessions WHERE NOT ended").fetchone()
    return capacity, reserved


def get(db: sqlite3.Connection, session_id: str, owner: str | None = None) -> SessionRecord:
    return SessionRecord.model_validate_json(row_of(db, session_id, owner)["record"])


def row_of(db: sqlite3.Connection, session_id: str, owner: str | None = None) -> sqlite3.Row:
    row: sqlite3.Row | None = db.execute("SELECT * FROM sessions WHERE id = ?", (session_id,)).fetchone()
    if row is None or owner not in (None, row["owner"]):
        raise refusals.unknown_session()
    return row


def page(
    db: sqlite3.Connection, limit: int, before: str | None, state: SessionState | None, owner: str | None
) -> tuple[list[SessionRecord], str | None]:
    rows = db.execute(
        "SELECT n, record FROM sessions WHERE (:before IS NULL OR n < :before) AND (:state IS NULL OR state = :state)"
        " AND (:owner IS NULL OR owner = :owner) ORDER BY n DESC LIMIT :limit",
        {"before": None if before is None else int(before), "state": state, "owner": owner, "limit": limit + 1},
    ).fetchall()
    records = [SessionRecord.model_validate_json(row["record"]) for row in rows[:limit]]
    return records, str(rows[limit - 1]["n"]) if len(rows) > limit else None


def stop(db: sqlite3.Connection, session_id: str, *, now: float, time: datetime) -> SessionRecord:
    """Leave the stop to the live owner if there is one; end the session here if not."""
    record = get(db, session_id)
    if record.state in ENDED_STATES:
        return record
    owned = db.execute(
        f"UPDATE sessions SET stop_requested = 1 WHERE id = :id AND worker_id IS NOT NULL AND {LIVE_LEASE}",
        {"id": session_id, "now": now},
    )
    if owned.rowcount:
        return record
    stopped = record.model_copy(update={"state": "stopped", "ended_at": time, "token": record.token + 1})
    delete_checkpoint(db, session_id)
    return append(db, stopped, [state_event(record, "stopped", time=time)])


def watch(db: sqlite3.Connection, session_id: str, *, now: float) -> None:
    until = now + WATCHED_S
    db.execute("UPDATE sessions SET watched_until = ? WHERE id = ? AND NOT ended", (until, session_id))


def delete_checkpoint(db: sqlite3.Connection, session_id: str) -> None:
    for table in ("checkpoints", "detectors"):
        db.execute(f"DELETE FROM {table} WHERE session_id = ?", (session_id,))


def ended_before(db: sqlite3.Connection, moment: datetime, limit: int) -> list[str]:
    rows = db.execute(
        "SELECT id, julianday(json_extract(record, '$.ended_at')) day FROM sessions"
        " WHERE ended AND day < julianday(?) ORDER BY day LIMIT ?",
        (moment.isoformat(), limit),
    )
    return [row["id"] for row in rows]


def delete(db: sqlite3.Connection, session_id: str) -> None:
    if not row_of(db, session_id)["ended"]:
        raise refusals.not_ended()
    db.execute("DELETE FROM sessions WHERE id = ?", (session_id,))


def append(db: sqlite3.Connection, record: SessionRecord, events: list[Event]) -> SessionRecord:
    """Save the record together with its new events; those not after its newest are replays and are left out."""
    newest = record.last_event_id
    for event in events:
        media_ms, seq = event_key(event.id)
        if newest is None or event_key(newest) < (media_ms, seq):
            newest = event.id
            db.execute(
                "INSERT INTO events (session_id, media_ms, seq, event) VALUES (?, ?, ?, ?)",
                (record.id, media_ms, seq, EVENT.dump_json(event).decode()),
            )
    record = record.model_copy(update={"last_event_id": newest})
    db.execute(
        "UPDATE sessions SET state = ?, ended = ?, token = ?, record = ? WHERE id = ?",
        (record.state, record.state in ENDED_STATES, record.token, record.model_dump_json(), record.id),
    )
    return record
