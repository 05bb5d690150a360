"""Statements about workers and their leases; each runs inside a transaction of its caller."""

import sqlite3

from pydantic import TypeAdapter

from service.push.wire import PushAddress
from service.schemas import ModelInfo, Pace
from service.store import refusals
from service.store.base import LEASE_S, WATCHED_S, Load, SessionRecord, Wishes, WorkerInfo
from service.store.sqlite_sessions import LIVE_LEASE, append, capacity_and_reserved

_MODELS = TypeAdapter(tuple[ModelInfo, ...])
_PUSH: TypeAdapter[PushAddress | None] = TypeAdapter(PushAddress | None)


def register(db: sqlite3.Connection, worker: WorkerInfo, *, now: float) -> None:
    db.execute(
        "INSERT OR REPLACE INTO workers (id, capacity, models, push, lease_until) VALUES (?, ?, ?, ?, ?)",
        (
            worker.id,
            worker.capacity_steps_per_s,
            _MODELS.dump_json(worker.models).decode(),
            _PUSH.dump_json(worker.push).decode(),
            now + LEASE_S,
        ),
    )
    # Workers that died without a word leave their rows behind.
    db.execute(f"DELETE FROM workers WHERE NOT {LIVE_LEASE}", {"now": now})


def live(db: sqlite3.Connection, *, now: float) -> list[WorkerInfo]:
    return [_info(row) for row in db.execute(f"SELECT * FROM workers WHERE {LIVE_LEASE} ORDER BY id", {"now": now})]


def owner(db: sqlite3.Connection, session_id: str, *, now: float) -> WorkerInfo | None:
    """The live worker that has a session."""
    row = db.execute(
        f"""SELECT workers.* FROM workers, (SELECT worker_id FROM sessions WHERE id = :id AND NOT ended)
            WHERE workers.id = worker_id AND {LIVE_LEASE}""",
        {"id": session_id, "now": now},
    ).fetchone()
    return None if row is None else _info(row)


def _info(row: sqlite3.Row) -> WorkerInfo:
    push = None if row["push"] is None else _PUSH.validate_json(row["push"])
    return WorkerInfo(row["id"], row["capacity"], _MODELS.validate_json(row["models"]), push)


def load(db: sqlite3.Connection, *, now: float) -> Load:
    capacity, reserved = capacity_and_reserved(db, now)
    (workers,) = db.execute(f"SELECT count(*) FROM workers WHERE {LIVE_LEASE}", {"now": now}).fetchone()
    sessions = {row["state"]: row["n"] for row in db.execute("SELECT state, count(*) n FROM sessions GROUP BY state")}
    return Load(capacity, reserved, workers, sessions)


def claim(
    db: sqlite3.Connection, worker_id: str, *, room_steps_per_s: float, pace: Pace | None, now: float
) -> SessionRecord | None:
    row = db.execute(
        f"""SELECT record FROM sessions
            WHERE NOT ended AND (worker_id IS NULL OR NOT {LIVE_LEASE}) AND cost <= :room
              AND (:pace IS NULL OR pace = :pace)
              AND model IN (SELECT json_extract(value, '$.name') FROM workers, json_each(workers.models)
                            WHERE workers.id = :worker)
            ORDER BY pace = 'realtime' DESC, n LIMIT 1""",
        {"now": now, "room": room_steps_per_s, "pace": pace, "worker": worker_id},
    ).fetchone()
    if row is None:
        return None
    record = SessionRecord.model_validate_json(row["record"])
    record = record.model_copy(update={"token": record.token + 1})
    db.execute("UPDATE sessions SET worker_id = ?, lease_until = ? WHERE id = ?", (worker_id, now + LEASE_S, record.id))
    return append(db, record, [])


def renew(db: sqlite3.Connection, worker_id: str, *, now: float) -> Wishes:
    known = db.execute("UPDATE workers SET lease_until = ? WHERE id = ?", (now + LEASE_S, worker_id))
    if not known.rowcount:
        raise refusals.worker_released(worker_id)
    db.execute("UPDATE sessions SET lease_until = ? WHERE worker_id = ? AND NOT ended", (now + LEASE_S, worker_id))
    rows = db.execute(
        """SELECT id, stop_requested, watched_until > :now AND watched_until <= :now + :watched_s AS watched
           FROM sessions WHERE worker_id = :worker AND NOT ended AND (stop_requested OR watched)""",
        {"worker": worker_id, "now": now, "watched_s": WATCHED_S},
    ).fetchall()
    return Wishes({row["id"] for row in rows if row["stop_requested"]}, {row["id"] for row in rows if row["watched"]})


def release(db: sqlite3.Connection, worker_id: str) -> None:
    db.execute("DELETE FROM workers WHERE id = ?", (worker_id,))
    db.execute("UPDATE sessions SET worker_id = NULL WHERE worker_id = ?", (worker_id,))
