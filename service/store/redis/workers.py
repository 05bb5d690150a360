"""Workers, their leases and what they claim, in Redis."""

import asyncio
import time
import uuid
from collections.abc import Callable
from functools import partial

from service.errors import StoreUnavailableError
from service.schemas import SESSION_STATES, Pace
from service.store.reading import dump_worker, parse_worker
from service.store.records import WATCHED_S, SessionRecord
from service.store.redis.records import Argument, record_of
from service.store.redis.replies import id_of, translated
from service.store.redis.scripts import Scripts, name_of
from service.store.redis.sessions import MILLI
from service.store.rejections import worker_released
from service.store.worker_records import LEASE_S, LeaseRenewal, ServiceLoad, WorkerInfo

CLAIM_EVERY_S = 0.1


class RedisWorkers:
    """Implements `service.store.protocols.Workers`. `clock` times how long Redis has been reachable, in seconds."""

    def __init__(self, scripts: Scripts, clock: Callable[[], float] | None = None) -> None:
        self._scripts = scripts
        self._client = scripts.client
        self._clock = clock or time.monotonic
        self._reachable_since_s = self._clock()
        self._unanswered: dict[str, str] = {}
        """By worker: the nonce of its last claim, if the reply was lost."""

    async def register(self, worker: WorkerInfo) -> None:
        await self._scripts.run("register", self._scripts.now, LEASE_S, *_offer(worker))

    async def announce(self, worker: WorkerInfo) -> None:
        if await self._scripts.run("announce", *_offer(worker)) == b"lost":
            raise worker_released(worker.id)

    async def live(self) -> list[WorkerInfo]:
        infos = await self._scripts.run("workers", self._scripts.now, LEASE_S, "")
        found = (self._parse(info) for info in infos)
        return sorted((worker for worker in found if worker is not None), key=lambda worker: worker.id)

    async def owner_of(self, session_id: str) -> WorkerInfo | None:
        infos = await self._scripts.run("workers", self._scripts.now, LEASE_S, session_id)
        return self._parse(infos[0]) if infos else None

    def _parse(self, info: bytes | None) -> WorkerInfo | None:
        if info is None:
            return None
        return self._scripts.reader.read("worker", info[:100].decode(errors="replace"), lambda: parse_worker(info))

    async def load(self) -> ServiceLoad:
        live, (reserved, counts) = await asyncio.gather(self.live(), self._counted())
        capacity = sum(worker.capacity_steps_per_s for worker in live)
        sessions = {state: int(n) for state, n in zip(SESSION_STATES, counts, strict=True) if n and int(n)}
        return ServiceLoad(capacity, int(reserved or 0) / MILLI, len(live), sessions)

    async def _counted(self) -> tuple[bytes | None, list[bytes | None]]:
        """What is reserved, in thousandths of a step per second, and the number of sessions in each state."""
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.get(name_of("reserved"))
            pipe.hmget(name_of("states"), list(SESSION_STATES))
            reserved, counts = await translated(pipe.execute())
        return reserved, counts

    async def claim(
        self, worker_id: str, *, room_steps_per_s: float = float("inf"), pace: Pace | None = None
    ) -> SessionRecord | None:
        room = min(room_steps_per_s, 1e9) * MILLI
        while True:
            session_id = await self._claim(worker_id, room, pace)
            if session_id is None:
                return None
            fields = await translated(self._client.hgetall(name_of("session", session_id)))
            if not fields:
                continue
            record = self._scripts.reader.read("session", session_id, partial(record_of, fields))
            if record is not None:
                return record
            # A worker of a newer version may be able to read it.
            await self._scripts.run("unclaim", worker_id, session_id)

    async def _claim(self, worker_id: str, room: float, pace: Pace | None) -> str | None:
        # A claim whose reply was lost is repeated with its nonce: the worker must learn which session it has.
        nonce = self._unanswered.pop(worker_id, None) or uuid.uuid4().hex
        arguments = (worker_id, nonce, room, pace or "", int(self._may_reap()))
        skipped = self._scripts.reader.unreadable("session")
        try:
            claimed = await self._scripts.run("claim", self._scripts.now, LEASE_S, *arguments, *skipped)
        except StoreUnavailableError:
            self._unanswered[worker_id] = nonce
            self._reachable_since_s = self._clock()
            raise
        return None if claimed is None else id_of(claimed)

    async def until_claimable(self, timeout_s: float) -> None:
        await asyncio.sleep(min(timeout_s, CLAIM_EVERY_S))

    async def renew(self, worker_id: str) -> LeaseRenewal:
        try:
            status, *ids = await self._scripts.run("renew", self._scripts.now, LEASE_S, WATCHED_S, worker_id)
        except StoreUnavailableError:
            self._reachable_since_s = self._clock()
            raise
        if status == b"lost":
            raise worker_released(worker_id)
        stop_requested, watched, changed, models, shadows = ({id_of(each) for each in group} for group in ids)
        return LeaseRenewal(stop_requested, watched, changed, models, shadows)

    async def release(self, worker_id: str) -> None:
        await self._scripts.run("release", worker_id)

    def _may_reap(self) -> bool:
        """Whether an expired lease means a dead worker: after an outage of Redis, workers need time to renew."""
        reachable_s = self._clock() - self._reachable_since_s
        return reachable_s >= LEASE_S or reachable_s < 0


def _offer(worker: WorkerInfo) -> tuple[Argument, ...]:
    """The worker as the scripts take it."""
    names = "\n".join(model.name for model in worker.models)
    return worker.id, round(worker.capacity_steps_per_s * MILLI), names, dump_worker(worker)
