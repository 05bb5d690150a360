"""Sessions in Redis."""

import itertools
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from service.access.keys import Limits
from service.access.sight import ALL, Sight
from service.event_filter import EVERYTHING, EventFilter
from service.schemas import LIVE_STATES, SessionState
from service.store import admission
from service.store.reading import unreadable_session
from service.store.records import (
    WATCHED_S,
    SessionRecord,
    SessionUpdate,
    SettingsChange,
    requeued,
    state_event,
    with_change,
)
from service.store.redis.records import LOG_MAX, Retained, event_argument, fields_of, record_of, stream_id
from service.store.redis.replies import id_of, translated
from service.store.redis.scripts import Scripts, name_of
from service.store.rejections import model_gone, not_ended, require_changeable, unknown_session
from service.store.worker_records import LEASE_S

MILLI = 1000
"""Capacity is counted in whole thousandths of a step per second, so that sums are exact."""
FILTERED_BATCH = 200
"""Sessions that are read at a time to find those that pass a filter."""


class RedisSessions:
    """Implements `service.store.protocols.Sessions`."""

    def __init__(self, scripts: Scripts, retained: Retained) -> None:
        self._scripts = scripts
        self._client = scripts.client
        self._retention = (retained.events_max, LOG_MAX)

    async def create(
        self,
        record: SessionRecord,
        *,
        max_queued: int,
        may_wait: bool = False,
        idempotency_key: str | None = None,
        digest: str = "",
        limits: Limits | None = None,
    ) -> SessionRecord:
        first = state_event(record, "queued", time=record.created_at)
        record = record.model_copy(update={"last_event_id": first.id})
        limited = limits if record.owner is not None else None
        webhook = record.webhook
        status, *details = await self._scripts.run(
            "create",
            *(self._scripts.now, LEASE_S, record.id, round(record.cost_steps_per_s * MILLI), record.pace),
            *(record.model_key, "1" if record.is_version_pinned else ""),
            *(record.owner or "", record.upload_bytes),
            *(admission.scoped_idempotency_key(idempotency_key, record.owner) or "", digest),
            *(max_queued, "1" if may_wait else ""),
            *(("", "") if limited is None else (limited.max_sessions, limited.max_stored_bytes)),
            *(("", "") if webhook is None else (webhook.url.get_secret_value(), webhook.secret.get_secret_value())),
            *(event_argument(first), *self._retention),
            *fields_of(record),
        )
        if status == b"made":
            return record
        if status == b"earlier":
            return await self.get(details[0].decode())
        figures = [float(detail) for detail in details if status != b"conflict"]
        raise _admission_error(status.decode(), figures, record, limited)

    async def get(self, session_id: str, *, sight: Sight = ALL) -> SessionRecord:
        fields = await translated(self._client.hgetall(name_of("session", session_id)))
        if not fields:
            raise unknown_session()
        record = self._scripts.reader.read("session", session_id, lambda: record_of(fields))
        if record is None:
            raise unreadable_session()
        if not sight.shows(record.owner, record.metadata):
            raise unknown_session()
        return record

    async def page(
        self,
        *,
        limit: int,
        before: str | None = None,
        state: SessionState | None = None,
        wanted: EventFilter = EVERYTHING,
        sight: Sight = ALL,
    ) -> tuple[list[SessionRecord], str | None]:
        if sight.owner is not None:
            index = name_of("sessions", "owner", sight.owner)
        else:
            index = name_of("sessions") if state is None else name_of("sessions", "state", state)
        found: list[tuple[int, SessionRecord]] = []
        newest = "+inf" if before is None else f"({int(before)}"
        # Where most are left out, small requests would take long.
        batch = limit + 1 if wanted == EVERYTHING and not sight.metadata else max(limit + 1, FILTERED_BATCH)
        while len(found) <= limit:
            rows = await translated(
                self._client.zrevrangebyscore(index, newest, "-inf", start=0, num=batch, withscores=True)
            )
            if not rows:
                break
            newest = f"({int(rows[-1][1])}"
            records = await self._records([id_of(session_id) for session_id, _ in rows])
            pairs = zip((int(n) for _, n in rows), records, strict=True)
            found += [
                (n, record)
                for n, record in pairs
                if record
                and state in (None, record.state)
                and wanted.passes_session(record.id, record.name, record.metadata)
                and sight.shows(record.owner, record.metadata)
            ]
        following = str(found[limit - 1][0]) if len(found) > limit else None
        return [record for _, record in found[:limit]], following

    async def live(self, *, limit: int, sight: Sight = ALL) -> list[SessionRecord]:
        # Only the records tell what a sight shows, so all of them are read.
        last = limit - 1 if sight == ALL else -1
        async with self._client.pipeline(transaction=False) as pipe:
            for state in LIVE_STATES:
                pipe.zrange(name_of("sessions", "state", state), 0, last, withscores=True)
            found = await translated(pipe.execute())
        oldest = sorted(itertools.chain.from_iterable(found), key=lambda row: row[1])
        records = await self._records([id_of(session_id) for session_id, _ in oldest[: last + 1 or None]])
        live = (record for record in records if record is not None and record.state in LIVE_STATES)
        return [record for record in live if sight.shows(record.owner, record.metadata)][:limit]

    async def _records(self, ids: list[str]) -> list[SessionRecord | None]:
        """The sessions, with None in place of deleted and unreadable ones."""
        async with self._client.pipeline(transaction=False) as pipe:
            for session_id in ids:
                pipe.hgetall(name_of("session", session_id))
            found = await translated(pipe.execute())
        read = self._scripts.reader.read
        return [
            read("session", session_id, partial(record_of, fields)) if fields else None
            for session_id, fields in zip(ids, found, strict=True)
        ]

    async def change(self, session_id: str, change: SettingsChange) -> SessionRecord:
        status = b"moved"
        while status == b"moved":
            record = await self.get(session_id)
            require_changeable(record, change)
            changed = with_change(record, change)
            fields = changed.model_dump(mode="json", include={*change.model_fields_set, "columns", "revision"})
            arguments = [text for name, value in fields.items() for text in (name, json.dumps(value))]
            model = (changed.model_key, "1" if changed.is_version_pinned else "")
            status = await self._scripts.run("change", session_id, record.revision, *model, *arguments)
            if status == b"no_model":
                raise model_gone(changed.model_key)
        if status == b"unknown":
            raise unknown_session()
        return await self.get(session_id)

    async def request_stop(self, session_id: str) -> SessionRecord:
        status = b"moved"
        while status == b"moved":
            record, time = await self.get(session_id), datetime.now(UTC)
            event = state_event(record, "stopped", time=time)
            status = await self._scripts.run(
                "stop",
                *(self._scripts.now, LEASE_S, session_id, f'"{record.last_event_id}"'),
                *(stream_id(event.id), event.id, event_argument(event), *self._retention),
                *fields_of(SessionUpdate(state="stopped", ended_at=time)),
            )
        if status == b"unknown":
            raise unknown_session()
        return await self.get(session_id)

    async def unowned(self) -> list[str]:
        return [id_of(session_id) for session_id in await self._scripts.run("unowned", self._scripts.now, LEASE_S)]

    async def requeue(self, session_id: str, detail: str) -> bool:
        status = b"moved"
        while status == b"moved":
            record = await self.get(session_id)
            event = state_event(record, "queued", time=datetime.now(UTC), detail=detail)
            status = await self._scripts.run(
                "requeue",
                *(self._scripts.now, LEASE_S, session_id, f'"{record.last_event_id}"'),
                *(stream_id(event.id), event.id, event_argument(event), *self._retention),
                *fields_of(requeued(record, detail)),
            )
        return bool(status == b"done")

    async def watch(self, session_id: str) -> None:
        await self._scripts.run("watch", self._scripts.now, WATCHED_S, session_id)

    async def ended_before(self, moment: datetime, *, limit: int) -> list[str]:
        due = self._client.zrangebyscore(name_of("ended"), "-inf", f"({moment.timestamp()}", start=0, num=limit)
        return [id_of(session_id) for session_id in await translated(due)]

    async def existing(self, session_ids: Sequence[str]) -> set[str]:
        async with self._client.pipeline(transaction=False) as pipe:
            for session_id in session_ids:
                pipe.exists(name_of("session", session_id))
            found = await translated(pipe.execute())
        return {session_id for session_id, exists in zip(session_ids, found, strict=True) if exists}

    async def require_ended(self, session_id: str) -> None:
        # Without the other fields: also of a session that this version cannot read.
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.exists(name_of("session", session_id))
            pipe.hget(name_of("session", session_id), "_ended")
            exists, ended = await translated(pipe.execute())
        if not exists:
            raise unknown_session()
        if ended is None:
            raise not_ended()

    async def delete(self, session_id: str) -> None:
        status = await self._scripts.run("delete", session_id)
        if status == b"unknown":
            raise unknown_session()
        if status == b"not_ended":
            raise not_ended()


def _admission_error(status: str, figures: list[float], record: SessionRecord, limits: Limits | None) -> Exception:
    match status, figures:
        case "no_model", _:
            return model_gone(record.model_key)
        case "conflict", _:
            return admission.idempotency_conflict()
        case "over_capacity", [capacity, reserved]:
            return admission.over_capacity(capacity / MILLI, reserved / MILLI, record.cost_steps_per_s)
        case "queue_full", [queued]:
            return admission.queue_full(int(queued))
        case "session_limit", _ if limits is not None:
            return admission.session_limit(limits)
        case "storage_limit", [stored] if limits is not None:
            return admission.storage_limit(limits, int(stored))
    return AssertionError(f"the script `create` returned {status}")
