"""Workers in Redis, their leases and what they claim."""

import time
import uuid
from collections.abc import Callable

from pydantic import TypeAdapter

from service.errors import StoreUnavailable
from service.schemas import Pace
from service.store import refusals
from service.store.base import LEASE_S, WATCHED_S, Wishes, WorkerInfo
from service.store.redis_connect import Client
from service.store.redis_records import Argument
from service.store.redis_scripts import Scripts
from service.store.redis_sessions import MILLI

_INFO = TypeAdapter(WorkerInfo)


class RedisWorkers:
    """Made by `service.store.redis.RedisStore`. `clock` times how long Redis was there, in seconds."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._scripts = Scripts(client)
        self._clock = clock
        self._there_since_s = clock()
        self._unanswered: dict[str, str] = {}
        """Of workers whose last claim got no answer: its number."""

    async def register(self, worker: WorkerInfo, *, now: Argument) -> None:
        names = "\n".join(model.name for model in worker.models)
        capacity = round(worker.capacity_steps_per_s * MILLI)
        await self._scripts.run("register", now, LEASE_S, worker.id, capacity, names, _INFO.dump_json(worker))

    async def live(self, *, now: Argument) -> list[WorkerInfo]:
        infos = await self._scripts.run("workers", now, LEASE_S, "")
        return sorted(map(_INFO.validate_json, infos), key=lambda worker: worker.id)

    async def owner(self, session_id: str, *, now: Argument) -> WorkerInfo | None:
        infos = await self._scripts.run("workers", now, LEASE_S, session_id)
        return _INFO.validate_json(infos[0]) if infos else None

    async def claim(self, worker_id: str, *, room_steps_per_s: float, pace: Pace | None, now: Argument) -> str | None:
        """The id of a session. A claim whose answer was lost is answered again: the worker must know what it has."""
        room = min(room_steps_per_s, 1e9) * MILLI
        nonce = self._unanswered.pop(worker_id, None) or uuid.uuid4().hex
        try:
            session_id = await self._scripts.run(
                "claim", now, LEASE_S, worker_id, nonce, room, pace or "", int(self._may_reap())
            )
        except StoreUnavailable:
            self._unanswered[worker_id] = nonce
            self._there_since_s = self._clock()
            raise
        return None if session_id is None else str(session_id.decode())

    async def renew(self, worker_id: str, *, now: Argument) -> Wishes:
        try:
            status, *wishes = await self._scripts.run("renew", now, LEASE_S, WATCHED_S, worker_id)
        except StoreUnavailable:
            self._there_since_s = self._clock()
            raise
        if status == b"lost":
            raise refusals.worker_released(worker_id)
        stop, watched = ({session_id.decode() for session_id in ids} for ids in wishes)
        return Wishes(stop, watched)

    async def release(self, worker_id: str) -> None:
        await self._scripts.run("release", worker_id)

    def _may_reap(self) -> bool:
        """Whether silence means death: after Redis was away, the others need time to be heard again."""
        there_s = self._clock() - self._there_since_s
        return there_s >= LEASE_S or there_s < 0
