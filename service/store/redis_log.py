"""What workers say of sessions in Redis, and how it is read: events, scores, checkpoints, the common log."""

from collections.abc import Sequence

from service.schemas import ENDED_STATES, EVENT, Event
from service.store import refusals
from service.store.base import LoggedEvent, ScoreRow, SessionUpdate
from service.store.checkpoint import Checkpoint
from service.store.redis_connect import ANSWER_WITHIN_S, Client
from service.store.redis_records import (
    checkpoint_arguments,
    checkpoint_of,
    event_arguments,
    score_arguments,
    score_id,
    stream_id,
    unpack_scores,
    update_arguments,
)
from service.store.redis_scripts import Scripts, key, translated


class RedisLog:
    """Made by `service.store.redis.RedisStore`."""

    def __init__(
        self, client: Client, retention: tuple[int, int], *, events_keep_s: float, scores_keep_s: float
    ) -> None:
        self._client = client
        self._scripts = Scripts(client)
        self._retention = retention
        self._events_keep_s = events_keep_s
        self._scores_keep_s = scores_keep_s

    async def commit(
        self,
        session_id: str,
        token: int,
        *,
        events: Sequence[Event],
        checkpoint: Checkpoint | None,
        update: SessionUpdate | None,
        scores: Sequence[ScoreRow],
    ) -> None:
        state = None if update is None else update.state
        refusals.require_end_event(state, events)
        events_max, log_max = self._retention
        oldest_s = events[-1].decided_s - self._events_keep_s if events else 0.0
        status = await self._scripts.run(
            "commit",
            *(session_id, token, state if state is not None and state in ENDED_STATES else ""),
            *(events_max, f"{round(oldest_s * 1000)}-0" if oldest_s > 0 else "", log_max),
            *event_arguments(events),
            *update_arguments(update),
            _oldest_score(scores, self._scores_keep_s),
            *score_arguments(scores),
            *checkpoint_arguments(checkpoint),
        )
        if status == b"unknown":
            raise refusals.unknown_session()
        if status == b"lost":
            raise refusals.lease_lost(session_id)

    async def load_checkpoint(self, session_id: str) -> Checkpoint | None:
        saved = await translated(self._client.hgetall(key("checkpoint", session_id)))
        return checkpoint_of(saved) if saved else None

    async def read_events(self, session_id: str, after: str | None, limit: int) -> list[Event]:
        newer_than = "-" if after is None else f"({stream_id(after)}"
        rows = await self._stream_of(session_id, "events", newer_than, limit)
        return [EVENT.validate_json(fields[b"event"]) for _, fields in rows]

    async def read_scores(self, session_id: str, after_s: float | None, limit: int) -> list[ScoreRow]:
        newer_than = "-" if after_s is None else f"({score_id(after_s)}"
        rows = await self._stream_of(session_id, "scores", newer_than, limit)
        return [unpack_scores(fields[b"s"]) for _, fields in rows]

    async def _stream_of(
        self, session_id: str, kind: str, newer_than: str, limit: int
    ) -> list[tuple[bytes, dict[bytes, bytes]]]:
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.exists(key("session", session_id))
            pipe.xrange(key(kind, session_id), min=newer_than, count=limit)
            exists, rows = await translated(pipe.execute())
        if not exists:
            raise refusals.unknown_session()
        return list(rows)

    async def read_log(self, after: str, limit: int, owner: str | None) -> list[LoggedEvent]:
        found: list[LoggedEvent] = []
        newest = after
        while len(found) < limit:
            rows = await translated(self._client.xrange(key("log"), min=f"({newest}-0", count=limit))
            entries = [_logged(entry_id, fields) for entry_id, fields in rows]
            found += [entry for entry in entries if owner in (None, entry.owner)]
            if len(rows) < limit:
                break
            newest = entries[-1].cursor
        return found[:limit]

    async def end(self) -> str:
        """The greatest cursor ever given."""
        cursor = await translated(self._client.get(key("cursor")))
        return "0" if cursor is None else str(cursor.decode())

    async def wait(self, after: str, timeout_s: float) -> None:
        """Return when an event was committed after the cursor, or in time."""
        block_ms = max(1, round(min(timeout_s, ANSWER_WITHIN_S / 2) * 1000))
        await translated(self._client.xread({key("log"): f"{after}-0"}, count=1, block=block_ms))


def _oldest_score(scores: Sequence[ScoreRow], keep_s: float) -> str:
    oldest_s = scores[-1].pts_s - keep_s if scores else 0.0
    return f"{round(oldest_s * 1e6)}-0" if oldest_s > 0 else ""


def _logged(entry_id: bytes, fields: dict[bytes, bytes]) -> LoggedEvent:
    owner = fields[b"owner"].decode() or None
    return LoggedEvent(entry_id.decode().partition("-")[0], EVENT.validate_json(fields[b"event"]), owner)
