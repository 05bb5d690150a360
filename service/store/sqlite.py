"""The embedded store: one SQLite file in WAL mode, shared by the server and its workers."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from service.access.keys import ApiKey, Limits
from service.schemas import Event, Pace, SessionState
from service.store import sqlite_keys, sqlite_log, sqlite_sessions, sqlite_webhooks, sqlite_workers
from service.store.base import Load, LoggedEvent, ScoreRow, SessionRecord, SessionUpdate, Wishes, WorkerInfo
from service.store.checkpoint import Checkpoint
from service.store.keys import Usage
from service.store.sqlite_bell import Bell
from service.store.sqlite_schema import migrate
from service.store.sqlite_thread import SqliteThread
from service.webhooks.outbox import Webhook

# At most so often the log is read for those who wait: of many events at a time, some are read together.
LOOK_EVERY_S = 0.005


class SqliteStore:
    """Implements `service.store.base.Store`, see there.

    One connection writes and one reads, each in its thread. `clock` times the leases in seconds and must be the same
    for all processes of the machine: the monotonic one is, and nobody sets it back.
    """

    def __init__(
        self, path: Path, *, scores_keep_s: float = 3600.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._writer = SqliteThread(path, prepare=migrate)
        self._reader = SqliteThread(path)
        self._bell = Bell(path)
        self._waiting = False
        self._looked_s = -math.inf
        self._scores_keep_s = scores_keep_s
        self._clock = clock

    async def create_session(
        self,
        record: SessionRecord,
        *,
        max_queued: int,
        may_wait: bool = False,
        idempotency_key: str | None = None,
        digest: str = "",
        limits: Limits | None = None,
    ) -> SessionRecord:
        return await self._writer.write(
            lambda db: sqlite_sessions.create(
                db,
                record,
                max_queued=max_queued,
                may_wait=may_wait,
                idempotency_key=idempotency_key,
                digest=digest,
                limits=limits,
                now=self._clock(),
            ),
            then=self._bell.ring,
        )

    async def get_session(self, session_id: str, *, owner: str | None = None) -> SessionRecord:
        return await self._reader.read(lambda db: sqlite_sessions.get(db, session_id, owner))

    async def list_sessions(
        self,
        *,
        limit: int,
        before: str | None = None,
        state: SessionState | None = None,
        owner: str | None = None,
    ) -> tuple[list[SessionRecord], str | None]:
        return await self._reader.read(lambda db: sqlite_sessions.page(db, limit, before, state, owner))

    async def request_stop(self, session_id: str) -> SessionRecord:
        return await self._writer.write(
            lambda db: sqlite_sessions.stop(db, session_id, now=self._clock(), time=datetime.now(UTC)),
            then=self._bell.ring,
        )

    async def watch(self, session_id: str) -> None:
        await self._writer.write(lambda db: sqlite_sessions.watch(db, session_id, now=self._clock()))

    async def ended_before(self, moment: datetime, *, limit: int) -> list[str]:
        return await self._reader.read(lambda db: sqlite_sessions.ended_before(db, moment, limit))

    async def delete_session(self, session_id: str) -> None:
        await self._writer.write(lambda db: sqlite_sessions.delete(db, session_id))

    async def register_worker(self, worker: WorkerInfo) -> None:
        await self._writer.write(lambda db: sqlite_workers.register(db, worker, now=self._clock()))

    async def workers(self) -> list[WorkerInfo]:
        return await self._reader.read(lambda db: sqlite_workers.live(db, now=self._clock()))

    async def worker_of(self, session_id: str) -> WorkerInfo | None:
        return await self._reader.read(lambda db: sqlite_workers.owner(db, session_id, now=self._clock()))

    async def load(self) -> Load:
        return await self._reader.read(lambda db: sqlite_workers.load(db, now=self._clock()))

    async def claim_session(
        self, worker_id: str, *, room_steps_per_s: float = float("inf"), pace: Pace | None = None
    ) -> SessionRecord | None:
        return await self._writer.write(
            lambda db: sqlite_workers.claim(
                db, worker_id, room_steps_per_s=room_steps_per_s, pace=pace, now=self._clock()
            )
        )

    async def renew_leases(self, worker_id: str) -> Wishes:
        return await self._writer.write(lambda db: sqlite_workers.renew(db, worker_id, now=self._clock()))

    async def release_worker(self, worker_id: str) -> None:
        await self._writer.write(lambda db: sqlite_workers.release(db, worker_id))

    async def load_checkpoint(self, session_id: str) -> Checkpoint | None:
        return await self._reader.read(lambda db: sqlite_log.load_checkpoint(db, session_id))

    async def commit(
        self,
        session_id: str,
        token: int,
        *,
        events: Sequence[Event] = (),
        checkpoint: Checkpoint | None = None,
        update: SessionUpdate | None = None,
        scores: Sequence[ScoreRow] = (),
    ) -> None:
        await self._writer.write(
            lambda db: sqlite_log.commit(
                db,
                session_id,
                token,
                events=events,
                checkpoint=checkpoint,
                update=update,
                scores=scores,
                scores_keep_s=self._scores_keep_s,
            ),
            then=self._bell.ring if events else None,
        )

    async def read_events(self, session_id: str, *, after: str | None = None, limit: int = 500) -> list[Event]:
        return await self._reader.read(lambda db: sqlite_log.read_events(db, session_id, after, limit))

    async def read_log(self, *, after: str, limit: int = 500, owner: str | None = None) -> list[LoggedEvent]:
        return await self._reader.read(lambda db: sqlite_log.read_log(db, after, limit, owner))

    async def log_end(self) -> str:
        return await self._reader.read(sqlite_log.log_end)

    async def wait_log(self, after: str, timeout_s: float) -> None:
        if self._waiting:
            raise RuntimeError("Only one may wait for the log.")
        self._waiting = True
        try:
            self._bell.listen()
            now_s = time.monotonic()
            if now_s < self._looked_s + LOOK_EVERY_S:
                await asyncio.sleep(self._looked_s + LOOK_EVERY_S - now_s)
            if not await self._reader.read(lambda db: sqlite_log.has_more(db, after)):
                await self._bell.heard(timeout_s)
            self._looked_s = time.monotonic()
        finally:
            self._waiting = False

    async def read_scores(self, session_id: str, *, after_s: float | None = None, limit: int = 1000) -> list[ScoreRow]:
        return await self._reader.read(lambda db: sqlite_log.read_scores(db, session_id, after_s, limit))

    async def create_key(self, key: ApiKey) -> None:
        await self._writer.write(lambda db: sqlite_keys.create(db, key))

    async def list_keys(self) -> list[ApiKey]:
        return await self._reader.read(sqlite_keys.all_keys)

    async def has_keys(self) -> bool:
        return await self._reader.read(sqlite_keys.exist)

    async def find_key(self, key_id: str) -> ApiKey | None:
        return await self._reader.read(lambda db: sqlite_keys.find(db, key_id))

    async def revoke_key(self, id_or_name: str, *, now: datetime) -> ApiKey:
        return await self._writer.write(lambda db: sqlite_keys.revoke(db, id_or_name, now=now))

    async def key_usage(self, key_id: str) -> Usage:
        return await self._reader.read(lambda db: sqlite_keys.usage(db, key_id))

    async def add_ticket(self, digest: str, key_id: str, *, now: datetime, expires_at: datetime) -> None:
        await self._writer.write(lambda db: sqlite_keys.add_ticket(db, digest, key_id, now=now, expires_at=expires_at))

    async def redeem_ticket(self, digest: str, *, now: datetime) -> str | None:
        return await self._writer.write(lambda db: sqlite_keys.redeem_ticket(db, digest, now=now))

    async def due_webhooks(self, *, now_unix_s: float, limit: int) -> list[Webhook]:
        return await self._reader.read(lambda db: sqlite_webhooks.due(db, now_unix_s=now_unix_s, limit=limit))

    async def note_delivered(self, session_id: str, event_id: str, *, last: bool) -> None:
        await self._writer.write(lambda db: sqlite_webhooks.delivered(db, session_id, event_id, last=last))

    async def note_failed(self, session_id: str, *, now_unix_s: float, retry_unix_s: float | None) -> None:
        await self._writer.write(
            lambda db: sqlite_webhooks.failed(db, session_id, now_unix_s=now_unix_s, retry_unix_s=retry_unix_s)
        )

    async def close(self) -> None:
        await self._reader.close()
        await self._writer.close()
        self._bell.close()
