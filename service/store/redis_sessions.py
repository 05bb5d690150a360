"""Sessions in Redis as the API sees them."""

from datetime import UTC, datetime

from service.access.keys import Limits
from service.schemas import EVENT, SessionState
from service.store import refusals
from service.store.base import LEASE_S, WATCHED_S, SessionRecord, SessionUpdate, state_event
from service.store.redis_connect import Client
from service.store.redis_records import Argument, fields_of, record_of, stream_id
from service.store.redis_scripts import Scripts, key, translated

# Capacity is counted in whole thousandths of a step per second: sums of them are exact.
MILLI = 1000


class RedisSessions:
    """Made by `service.store.redis.RedisStore`. `now` gives the scripts' clock, "" for that of Redis."""

    def __init__(self, client: Client, retention: tuple[int, int]) -> None:
        self._client = client
        self._scripts = Scripts(client)
        self._retention = retention
        """Newest events that are kept of each session, and of all together."""

    async def create(
        self,
        record: SessionRecord,
        *,
        max_queued: int,
        may_wait: bool,
        idempotency_key: str | None,
        digest: str,
        limits: Limits | None,
        now: Argument,
    ) -> SessionRecord:
        first = state_event(record, "queued", time=record.created_at)
        record = record.model_copy(update={"last_event_id": first.id})
        limited = limits if record.owner is not None else None
        webhook = record.webhook
        status, *details = await self._scripts.run(
            "create",
            *(now, LEASE_S, record.id, round(record.cost_steps_per_s * MILLI), record.pace, record.model),
            *(record.owner or "", record.upload_bytes),
            *(refusals.scoped_idempotency_key(idempotency_key, record.owner) or "", digest),
            *(max_queued, "1" if may_wait else ""),
            *(("", "") if limited is None else (limited.max_sessions, limited.max_stored_bytes)),
            *(("", "") if webhook is None else (webhook.url, webhook.secret)),
            *(EVENT.dump_json(first), *self._retention),
            *fields_of(record),
        )
        if status == b"made":
            return record
        if status == b"earlier":
            return await self.get(details[0].decode())
        figures = [float(detail) for detail in details if status != b"conflict"]
        raise _refusal(status.decode(), figures, record, limited)

    async def get(self, session_id: str, owner: str | None = None) -> SessionRecord:
        fields = await translated(self._client.hgetall(key("session", session_id)))
        if not fields:
            raise refusals.unknown_session()
        record = record_of(fields)
        if owner not in (None, record.owner):
            raise refusals.unknown_session()
        return record

    async def page(
        self, limit: int, before: str | None, state: SessionState | None, owner: str | None
    ) -> tuple[list[SessionRecord], str | None]:
        if owner is not None:
            index = key("sessions", "owner", owner)
        else:
            index = key("sessions") if state is None else key("sessions", "state", state)
        found: list[tuple[int, SessionRecord]] = []
        newest = "+inf" if before is None else f"({int(before)}"
        while len(found) <= limit:
            rows = await translated(
                self._client.zrevrangebyscore(index, newest, "-inf", start=0, num=limit + 1, withscores=True)
            )
            if not rows:
                break
            newest = f"({int(rows[-1][1])}"
            records = await self._records([session_id.decode() for session_id, _ in rows])
            pairs = zip((int(n) for _, n in rows), records, strict=True)
            found += [(n, record) for n, record in pairs if record and state in (None, record.state)]
        following = str(found[limit - 1][0]) if len(found) > limit else None
        return [record for _, record in found[:limit]], following

    async def _records(self, ids: list[str]) -> list[SessionRecord | None]:
        """Those that were not deleted meanwhile."""
        async with self._client.pipeline(transaction=False) as pipe:
            for session_id in ids:
                pipe.hgetall(key("session", session_id))
            return [record_of(fields) if fields else None for fields in await translated(pipe.execute())]

    async def stop(self, session_id: str, *, now: Argument) -> SessionRecord:
        status = b"moved"
        while status == b"moved":
            record, time = await self.get(session_id), datetime.now(UTC)
            event = state_event(record, "stopped", time=time)
            status = await self._scripts.run(
                "stop",
                *(now, LEASE_S, session_id, f'"{record.last_event_id}"'),
                *(stream_id(event.id), event.id, EVENT.dump_json(event), *self._retention),
                *fields_of(SessionUpdate(state="stopped", ended_at=time)),
            )
        if status == b"unknown":
            raise refusals.unknown_session()
        return await self.get(session_id)

    async def watch(self, session_id: str, *, now: Argument) -> None:
        await self._scripts.run("watch", now, WATCHED_S, session_id)

    async def ended_before(self, moment: datetime, limit: int) -> list[str]:
        due = self._client.zrangebyscore(key("ended"), "-inf", f"({moment.timestamp()}", start=0, num=limit)
        return [session_id.decode() for session_id in await translated(due)]

    async def delete(self, session_id: str) -> None:
        status = await self._scripts.run("delete", session_id)
        if status == b"unknown":
            raise refusals.unknown_session()
        if status == b"going_on":
            raise refusals.not_ended()


def _refusal(status: str, figures: list[float], record: SessionRecord, limits: Limits | None) -> Exception:
    match status, figures:
        case "conflict", _:
            return refusals.idempotency_conflict()
        case "over_capacity", [capacity, reserved]:
            return refusals.over_capacity(capacity / MILLI, reserved / MILLI, record.cost_steps_per_s)
        case "too_many_wait", [queued]:
            return refusals.too_many_wait(int(queued))
        case "session_limit", _ if limits is not None:
            return refusals.session_limit(limits)
        case "storage_limit", [stored] if limits is not None:
            return refusals.storage_limit(limits, int(stored))
    return AssertionError(f"the script `create` answered {status}")
