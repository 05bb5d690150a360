"""The store of many machines: one Redis (a Sentinel's primary, a cluster), shared by servers and workers."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

from service.access.keys import ApiKey, Limits
from service.errors import StoreUnavailable
from service.schemas import SESSION_STATES, Event, Pace, SessionState
from service.store.base import Load, LoggedEvent, ScoreRow, SessionRecord, SessionUpdate, Wishes, WorkerInfo
from service.store.checkpoint import Checkpoint
from service.store.keys import Usage
from service.store.redis_access import RedisKeyStore
from service.store.redis_connect import connect
from service.store.redis_log import RedisLog
from service.store.redis_records import Argument
from service.store.redis_scripts import key, translated
from service.store.redis_sessions import MILLI, RedisSessions
from service.store.redis_webhooks import RedisOutbox
from service.store.redis_workers import RedisWorkers
from service.webhooks.outbox import Webhook

LOG_MAX = 100_000
"""Newest events of all sessions together that `read_log` still has."""


class RedisStore:
    """Implements `service.store.base.Store`, see there. Every change is one Lua script, whole or not at all.

    Leases are timed by Redis's own clock, the same for all; `clock`, in seconds, stands in for it in tests.
    """

    def __init__(
        self,
        url: str,
        *,
        scores_keep_s: float = 3600.0,
        events_keep_s: float = 7 * 24 * 3600.0,
        events_max: int = 10_000,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Opens nothing yet. Raises ValueError for an address that cannot be one."""
        self._connected = connect(url)
        client = self._connected.client
        self._clock = clock
        self._waiting = False
        retention = (events_max, LOG_MAX)
        self._sessions = RedisSessions(client, retention)
        self._workers = RedisWorkers(client, clock or time.monotonic)
        self._log = RedisLog(client, retention, events_keep_s=events_keep_s, scores_keep_s=scores_keep_s)
        self._keys = RedisKeyStore(client)
        self._outbox = RedisOutbox(client)

    @property
    def _now(self) -> Argument:
        return "" if self._clock is None else self._clock()

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
        return await self._sessions.create(
            record,
            max_queued=max_queued,
            may_wait=may_wait,
            idempotency_key=idempotency_key,
            digest=digest,
            limits=limits,
            now=self._now,
        )

    async def get_session(self, session_id: str, *, owner: str | None = None) -> SessionRecord:
        return await self._sessions.get(session_id, owner)

    async def list_sessions(
        self,
        *,
        limit: int,
        before: str | None = None,
        state: SessionState | None = None,
        owner: str | None = None,
    ) -> tuple[list[SessionRecord], str | None]:
        return await self._sessions.page(limit, before, state, owner)

    async def request_stop(self, session_id: str) -> SessionRecord:
        return await self._sessions.stop(session_id, now=self._now)

    async def watch(self, session_id: str) -> None:
        await self._sessions.watch(session_id, now=self._now)

    async def ended_before(self, moment: datetime, *, limit: int) -> list[str]:
        return await self._sessions.ended_before(moment, limit)

    async def delete_session(self, session_id: str) -> None:
        await self._sessions.delete(session_id)

    async def register_worker(self, worker: WorkerInfo) -> None:
        await self._workers.register(worker, now=self._now)

    async def workers(self) -> list[WorkerInfo]:
        return await self._workers.live(now=self._now)

    async def worker_of(self, session_id: str) -> WorkerInfo | None:
        return await self._workers.owner(session_id, now=self._now)

    async def load(self) -> Load:
        live = await self._workers.live(now=self._now)
        reserved = int(await translated(self._connected.client.get(key("reserved"))) or 0)
        counts = await translated(self._connected.client.hmget(key("states"), list(SESSION_STATES)))
        capacity = sum(worker.capacity_steps_per_s for worker in live)
        sessions = {state: int(n) for state, n in zip(SESSION_STATES, counts, strict=True) if int(n or 0)}
        return Load(capacity, reserved / MILLI, len(live), sessions)

    async def claim_session(
        self, worker_id: str, *, room_steps_per_s: float = float("inf"), pace: Pace | None = None
    ) -> SessionRecord | None:
        claimed = await self._workers.claim(worker_id, room_steps_per_s=room_steps_per_s, pace=pace, now=self._now)
        return None if claimed is None else await self._sessions.get(claimed)

    async def renew_leases(self, worker_id: str) -> Wishes:
        return await self._workers.renew(worker_id, now=self._now)

    async def release_worker(self, worker_id: str) -> None:
        await self._workers.release(worker_id)

    async def load_checkpoint(self, session_id: str) -> Checkpoint | None:
        return await self._log.load_checkpoint(session_id)

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
        await self._log.commit(session_id, token, events=events, checkpoint=checkpoint, update=update, scores=scores)

    async def read_events(self, session_id: str, *, after: str | None = None, limit: int = 500) -> list[Event]:
        return await self._log.read_events(session_id, after, limit)

    async def read_log(self, *, after: str, limit: int = 500, owner: str | None = None) -> list[LoggedEvent]:
        return await self._log.read_log(after, limit, owner)

    async def log_end(self) -> str:
        return await self._log.end()

    async def wait_log(self, after: str, timeout_s: float) -> None:
        if self._waiting:
            raise RuntimeError("Only one may wait for the log.")
        self._waiting = True
        try:
            await self._log.wait(after, timeout_s)
        finally:
            self._waiting = False

    async def read_scores(self, session_id: str, *, after_s: float | None = None, limit: int = 1000) -> list[ScoreRow]:
        return await self._log.read_scores(session_id, after_s, limit)

    async def create_key(self, key: ApiKey) -> None:
        await self._keys.create_key(key)

    async def list_keys(self) -> list[ApiKey]:
        return await self._keys.list_keys()

    async def has_keys(self) -> bool:
        return await self._keys.has_keys()

    async def find_key(self, key_id: str) -> ApiKey | None:
        return await self._keys.find_key(key_id)

    async def revoke_key(self, id_or_name: str, *, now: datetime) -> ApiKey:
        return await self._keys.revoke_key(id_or_name, now=now)

    async def key_usage(self, key_id: str) -> Usage:
        return await self._keys.key_usage(key_id)

    async def add_ticket(self, digest: str, key_id: str, *, now: datetime, expires_at: datetime) -> None:
        await self._keys.add_ticket(digest, key_id, now=now, expires_at=expires_at)

    async def redeem_ticket(self, digest: str, *, now: datetime) -> str | None:
        return await self._keys.redeem_ticket(digest, now=now)

    async def due_webhooks(self, *, now_unix_s: float, limit: int) -> Sequence[Webhook]:
        return await self._outbox.due_webhooks(now_unix_s=now_unix_s, limit=limit)

    async def note_delivered(self, session_id: str, event_id: str, *, last: bool) -> None:
        await self._outbox.note_delivered(session_id, event_id, last=last)

    async def note_failed(self, session_id: str, *, now_unix_s: float, retry_unix_s: float | None) -> None:
        await self._outbox.note_failed(session_id, now_unix_s=now_unix_s, retry_unix_s=retry_unix_s)

    async def close(self) -> None:
        with suppress(StoreUnavailable):
            await self._outbox.hand_over()
        await self._connected.aclose()
