"""Events, scores and resume points in Redis."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from pydantic_core import from_json

from service.access.sight import ALL, Sight
from service.event_schemas import Event
from service.schemas import ENDED_STATES
from service.store.reading import parse_event, parse_metadata
from service.store.records import LoggedEvent, LogPage, ResumePoint, ScoreRow, SessionUpdate
from service.store.redis.connect import REPLY_TIMEOUT_S
from service.store.redis.records import (
    LOG_MAX,
    Retained,
    event_arguments,
    resume_point_arguments,
    resume_point_of,
    score_arguments,
    score_id,
    stream_id,
    unpack_scores,
    update_arguments,
)
from service.store.redis.replies import translated
from service.store.redis.scripts import Scripts, name_of
from service.store.rejections import lease_lost, require_end_event, unknown_session

T = TypeVar("T")
MAX_CURSOR = 10**18 - 1
MAX_SCORE_S = 1e12
"""Later than any score. Redis has no ids for much later times."""


class RedisLog:
    """Implements `service.store.protocols.EventLog`."""

    def __init__(self, scripts: Scripts, retained: Retained) -> None:
        self._scripts = scripts
        self._client = scripts.client
        self._retained = retained
        self._waiting = False

    async def load_resume_point(self, session_id: str) -> ResumePoint | None:
        saved = await translated(self._client.hgetall(name_of("checkpoint", session_id)))
        if not saved:
            return None
        return self._scripts.reader.read("resume_point", session_id, lambda: resume_point_of(saved))

    async def commit(
        self,
        session_id: str,
        token: int,
        *,
        events: Sequence[Event] = (),
        resume_point: ResumePoint | None = None,
        update: SessionUpdate | None = None,
        scores: Sequence[ScoreRow] = (),
    ) -> None:
        state = None if update is None else update.state
        require_end_event(state, events)
        ends_as = state if state in ENDED_STATES else None
        oldest_s = events[-1].decided_s - self._retained.events_keep_s if events else 0.0
        status = await self._scripts.run(
            *(("commit",) if ends_as is None else ("end", ends_as)),
            *(session_id, token),
            *(self._retained.events_max, f"{round(oldest_s * 1000)}-0" if oldest_s > 0 else "", LOG_MAX),
            *event_arguments(events),
            *update_arguments(update),
            _oldest_score(scores, self._retained.scores_keep_s),
            *score_arguments(scores),
            *resume_point_arguments(resume_point),
        )
        if status == b"unknown":
            raise unknown_session()
        if status == b"lost":
            raise lease_lost(session_id)

    async def read_events(self, session_id: str, *, after: str | None = None, limit: int = 500) -> list[Event]:
        newer_than = "-" if after is None else f"({stream_id(after)}"
        return await self._read_stream(session_id, "events", newer_than, limit, _event_of)

    async def read_scores(self, session_id: str, *, after_s: float | None = None, limit: int = 1000) -> list[ScoreRow]:
        newer_than = "-" if after_s is None or after_s < 0 else f"({score_id(min(after_s, MAX_SCORE_S))}"
        return await self._read_stream(
            session_id, "scores", newer_than, limit, lambda fields: unpack_scores(fields[b"s"])
        )

    async def _read_stream(
        self, session_id: str, kind: str, newer_than: str, limit: int, parse: Callable[[dict[bytes, bytes]], T]
    ) -> list[T]:
        """Up to `limit` readable entries of one of the session's streams."""
        found: list[T] = []
        while len(found) < limit:
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.exists(name_of("session", session_id))
                pipe.xrange(name_of(kind, session_id), min=newer_than, count=limit)
                exists, rows = await translated(pipe.execute())
            if not exists:
                raise unknown_session()
            if kind == "events" and rows:
                newest = max(rows, key=lambda row: _commit_cursor(row[1]))
                await self._scripts.require_confirmed((kind, session_id), newest[0], _commit_cursor(newest[1]))
            for entry_id, fields in rows:
                row = self._scripts.reader.read(kind, f"{session_id} {entry_id.decode()}", partial(parse, fields))
                if row is not None:
                    found.append(row)
            if len(rows) < limit:
                break
            newer_than = f"({rows[-1][0].decode()}"
        return found[:limit]

    async def read(self, *, after: str, limit: int = 500, sight: Sight = ALL) -> LogPage:
        def rows_after(cursor: str) -> Awaitable[Any]:
            return self._client.xrange(name_of("log"), min=f"({cursor}-0", count=limit)

        return await self._page(after, limit, sight, rows_after)

    async def read_back(self, *, before: str | None = None, limit: int = 500, sight: Sight = ALL) -> LogPage:
        async def rows_before(cursor: str) -> Any:
            if int(cursor) == 0:
                return []
            return await self._client.xrevrange(name_of("log"), max=f"({cursor}-0", count=limit)

        return await self._page(str(MAX_CURSOR) if before is None else before, limit, sight, rows_before)

    async def _page(
        self, position: str, limit: int, sight: Sight, rows_beyond: Callable[[str], Awaitable[Any]]
    ) -> LogPage:
        """Up to `limit` entries that `sight` shows, with what `rows_beyond` gets from Redis."""
        entries: list[LoggedEvent] = []
        cursor = position
        while len(entries) < limit:
            rows = await translated(rows_beyond(cursor))
            if rows:
                newest = max(rows, key=lambda row: _cursor_of(row[0]))
                await self._scripts.require_confirmed(("log",), newest[0], _cursor_of(newest[0]))
            entries += await self.in_sight(self._readable(rows), sight)
            if len(entries) >= limit:
                return LogPage(entries[:limit], entries[limit - 1].cursor)
            if rows:
                cursor = str(_cursor_of(rows[-1][0]))
            if len(rows) < limit:
                break
        return LogPage(entries, cursor)

    def _readable(self, rows: Iterable[tuple[bytes, dict[bytes, bytes]]]) -> list[LoggedEvent]:
        read = self._scripts.reader.read
        cursors = ((str(_cursor_of(entry_id)), fields) for entry_id, fields in rows)
        entries = (read("log", cursor, partial(_logged, cursor, fields)) for cursor, fields in cursors)
        return [entry for entry in entries if entry is not None]

    async def in_sight(self, entries: Sequence[LoggedEvent], sight: Sight) -> list[LoggedEvent]:
        if not sight.metadata:
            return [entry for entry in entries if sight.shows(entry.owner, {})]
        sessions = list({entry.event.session_id for entry in entries})
        async with self._client.pipeline(transaction=False) as pipe:
            for session_id in sessions:
                pipe.hget(name_of("session", session_id), "metadata")
            found = await translated(pipe.execute())
        read = self._scripts.reader.read
        metadata = {
            session_id: read("session", session_id, partial(_metadata_of, text))
            for session_id, text in zip(sessions, found, strict=True)
            if text is not None
        }
        return [
            entry
            for entry in entries
            if (of_session := metadata.get(entry.event.session_id)) is not None and sight.shows(entry.owner, of_session)
        ]

    async def end(self) -> str:
        cursor = await translated(self._client.get(name_of("cursor")))
        return "0" if cursor is None else str(cursor.decode())

    async def wait(self, after: str, timeout_s: float) -> None:
        if self._waiting:
            raise RuntimeError("Only one task may wait for the log.")
        self._waiting = True
        block_ms = max(1, round(min(timeout_s, REPLY_TIMEOUT_S / 2) * 1000))
        try:
            await translated(self._client.xread({name_of("log"): f"{after}-0"}, count=1, block=block_ms))
        finally:
            self._waiting = False


def _cursor_of(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])


def _metadata_of(json_text: bytes) -> dict[str, str]:
    return parse_metadata(from_json(json_text))


def _commit_cursor(fields: dict[bytes, bytes]) -> int:
    """0 for a row that cannot be read anyway."""
    cursor = fields.get(b"cursor", b"")
    return int(cursor) if cursor.isdigit() else 0


def _oldest_score(scores: Sequence[ScoreRow], keep_s: float) -> str:
    oldest_s = scores[-1].pts_s - keep_s if scores else 0.0
    return f"{round(oldest_s * 1e6)}-0" if oldest_s > 0 else ""


def _event_of(fields: dict[bytes, bytes]) -> Event:
    return parse_event(fields[b"event"], fields.get(b"since_0_2"))


def _scores_of(fields: dict[bytes, bytes]) -> ScoreRow:
    return unpack_scores(fields[b"s"])


def _logged(cursor: str, fields: dict[bytes, bytes]) -> LoggedEvent:
    return LoggedEvent(
        cursor, parse_event(fields[b"event"], fields.get(b"since_0_2")), fields[b"owner"].decode() or None
    )
