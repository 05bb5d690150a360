"""Workers, their leases and what they claim, in SQLite."""

import json
import sqlite3
from collections.abc import Mapping
from functools import partial

from pydantic import TypeAdapter

from service.push.protocol import PushAddress
from service.schemas import Pace
from service.server_schemas import ModelInfo
from service.store.reading import Reader, parse_session
from service.store.records import WATCHED_S, SessionRecord
from service.store.rejections import worker_released
from service.store.sqlite.database import Database
from service.store.sqlite.session_rows import LIVE_LEASE, append, capacity_and_reserved
from service.store.worker_records import LEASE_S, LeaseRenewal, ServiceLoad, WorkerInfo

_MODELS = TypeAdapter(tuple[ModelInfo, ...])
_CONFINEMENT: TypeAdapter[Mapping[str, bool] | None] = TypeAdapter(Mapping[str, bool] | None)
_FAILURES = TypeAdapter(dict[str, str])
_PUSH: TypeAdapter[PushAddress | None] = TypeAdapter(PushAddress | None)


class SqliteWorkers:
    """Implements `service.store.protocols.Workers`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, worker: WorkerInfo) -> None:
        await self._database.write(lambda db: _register(db, worker, self._database.now_s()), essential=True)

    async def announce(self, worker: WorkerInfo) -> None:
        await self._database.write(lambda db: _announce(db, worker, self._database.now_s()), essential=True)

    async def live(self) -> list[WorkerInfo]:
        return await self._database.read(lambda db: _live(db, self._database.reader, self._database.now_s()))

    async def owner_of(self, session_id: str) -> WorkerInfo | None:
        return await self._database.read(
            lambda db: _owner_of(db, self._database.reader, session_id, self._database.now_s())
        )

    async def load(self) -> ServiceLoad:
        return await self._database.read(lambda db: _load(db, self._database.now_s()))

    async def claim(
        self, worker_id: str, *, room_steps_per_s: float = float("inf"), pace: Pace | None = None
    ) -> SessionRecord | None:
        return await self._database.write(
            lambda db: _claim(db, self._database.reader, worker_id, room_steps_per_s, pace, self._database.now_s())
        )

    async def until_claimable(self, timeout_s: float) -> None:
        self._database.claims.subscribe()
        await self._database.claims.wait(timeout_s)

    async def renew(self, worker_id: str) -> LeaseRenewal:
        return await self._database.write(lambda db: _renew(db, worker_id, self._database.now_s()), essential=True)

    async def release(self, worker_id: str) -> None:
        await self._database.write(lambda db: _release(db, worker_id), notify=True, essential=True)


def _register(db: sqlite3.Connection, worker: WorkerInfo, now_s: float) -> None:
    db.execute(
        "INSERT OR REPLACE INTO workers (id, capacity, models, push, confinement, model_failures, lease_until)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            worker.id,
            worker.capacity_steps_per_s,
            _MODELS.dump_json(worker.models, exclude_defaults=True).decode(),
            _PUSH.dump_json(worker.push).decode(),
            _CONFINEMENT.dump_json(worker.confinement).decode(),
            json.dumps(dict(worker.model_failures)),
            now_s + LEASE_S,
        ),
    )
    # Workers that were killed leave their rows behind.
    db.execute(f"DELETE FROM workers WHERE NOT {LIVE_LEASE}", {"now": now_s})


def _announce(db: sqlite3.Connection, worker: WorkerInfo, now_s: float) -> None:
    if db.execute("SELECT 1 FROM workers WHERE id = ?", (worker.id,)).fetchone() is None:
        raise worker_released(worker.id)
    _register(db, worker, now_s)


def _live(db: sqlite3.Connection, reader: Reader, now_s: float) -> list[WorkerInfo]:
    rows = db.execute(f"SELECT * FROM workers WHERE {LIVE_LEASE} ORDER BY id", {"now": now_s})
    workers = (reader.read("worker", row["id"], partial(_info, row)) for row in rows)
    return [worker for worker in workers if worker is not None]


def _owner_of(db: sqlite3.Connection, reader: Reader, session_id: str, now_s: float) -> WorkerInfo | None:
    row = db.execute(
        f"""SELECT workers.* FROM workers, (SELECT worker_id FROM sessions WHERE id = :id AND NOT ended)
            WHERE workers.id = worker_id AND {LIVE_LEASE}""",
        {"id": session_id, "now": now_s},
    ).fetchone()
    return None if row is None else reader.read("worker", row["id"], partial(_info, row))


def _info(row: sqlite3.Row) -> WorkerInfo:
    push = None if row["push"] is None else _PUSH.validate_json(row["push"], extra="ignore")
    confinement = None if row["confinement"] is None else _CONFINEMENT.validate_json(row["confinement"])
    models = _MODELS.validate_json(row["models"], extra="ignore")
    failures = _FAILURES.validate_json(row["model_failures"] or "{}")
    return WorkerInfo(row["id"], float(row["capacity"]), models, push, confinement, failures)


def _load(db: sqlite3.Connection, now_s: float) -> ServiceLoad:
    capacity, reserved = capacity_and_reserved(db, now_s)
    (workers,) = db.execute(f"SELECT count(*) FROM workers WHERE {LIVE_LEASE}", {"now": now_s}).fetchone()
    sessions = {row["state"]: row["n"] for row in db.execute("SELECT state, count(*) n FROM sessions GROUP BY state")}
    return ServiceLoad(capacity, reserved, workers, sessions)


def _claim(
    db: sqlite3.Connection, reader: Reader, worker_id: str, room_steps_per_s: float, pace: Pace | None, now_s: float
) -> SessionRecord | None:
    rows = db.execute(
        f"""SELECT id, record FROM sessions
            WHERE NOT ended AND (worker_id IS NULL OR NOT {LIVE_LEASE}) AND cost <= :room
              AND (:pace IS NULL OR pace = :pace)
              AND model IN (SELECT json_extract(value, '$.name') FROM workers, json_each(workers.models)
                            WHERE workers.id = :worker AND json_valid(workers.models))
            ORDER BY pace = 'realtime' DESC, n""",
        {"now": now_s, "room": room_steps_per_s, "pace": pace, "worker": worker_id},
    )
    readable = (reader.read("session", row["id"], partial(parse_session, row["record"])) for row in rows)
    record = next((record for record in readable if record is not None), None)
    if record is None:
        return None
    record = record.model_copy(update={"token": record.token + 1})
    db.execute(
        "UPDATE sessions SET worker_id = ?, lease_until = ? WHERE id = ?", (worker_id, now_s + LEASE_S, record.id)
    )
    return append(db, record, [])


def _renew(db: sqlite3.Connection, worker_id: str, now_s: float) -> LeaseRenewal:
    known = db.execute("UPDATE workers SET lease_until = ? WHERE id = ?", (now_s + LEASE_S, worker_id))
    if not known.rowcount:
        raise worker_released(worker_id)
    db.execute("UPDATE sessions SET lease_until = ? WHERE worker_id = ? AND NOT ended", (now_s + LEASE_S, worker_id))
    rows = db.execute(
        """SELECT id, stop_requested, watched_until > :now AND watched_until <= :now + :watched_s AS watched,
                  CASE WHEN json_valid(record) THEN coalesce(json_extract(record, '$.revision'), 0)
                    > coalesce(json_extract(record, '$.applied_revision'), 0) END AS changed
           FROM sessions WHERE worker_id = :worker AND NOT ended AND (stop_requested OR watched OR changed)""",
        {"worker": worker_id, "now": now_s, "watched_s": WATCHED_S},
    ).fetchall()
    # CASE, because AND in a column evaluates both sides: it does not keep invalid JSON from `json_extract`.
    models = db.execute(
        """SELECT key, CASE WHEN json_valid(record) THEN json_extract(record, '$.is_shadow') IS TRUE END AS is_shadow
           FROM models WHERE typeof(key) = 'text'"""
    ).fetchall()
    return LeaseRenewal(
        stop_requested={row["id"] for row in rows if row["stop_requested"]},
        watched={row["id"] for row in rows if row["watched"]},
        changed={row["id"] for row in rows if row["changed"]},
        models={row["key"] for row in models},
        shadows={row["key"] for row in models if row["is_shadow"]},
    )


def _release(db: sqlite3.Connection, worker_id: str) -> None:
    db.execute("DELETE FROM workers WHERE id = ?", (worker_id,))
    db.execute("UPDATE sessions SET worker_id = NULL WHERE worker_id = ?", (worker_id,))
