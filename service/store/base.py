"""What a store keeps and promises; the two backends are `sqlite` and `redis`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from service.access.keys import Limits
from service.push.wire import PushAddress
from service.schemas import (
    Event,
    FailureCode,
    ModelInfo,
    Pace,
    SessionState,
    SessionStateEvent,
    Source,
    Video,
    next_event_id,
)
from service.store.checkpoint import Checkpoint
from service.store.keys import KeyStore
from service.webhooks.outbox import Outbox

LEASE_S = 10.0
"""A worker that has not renewed for this long has lost its sessions."""

WATCHED_S = 5.0
"""For so long after somebody asked for a session's picture its worker makes them often."""


class LeaseLost(Exception):
    """The session belongs to another worker now, has ended, or is gone: stop working on it, write nothing."""


class WebhookTarget(BaseModel):
    """Where a session's events are posted, and what they are signed with."""

    model_config = ConfigDict(frozen=True)

    url: str
    secret: str


class SessionRecord(BaseModel):
    """A session as stored. `source.url` is whole here, secrets included: never log or answer with it."""

    model_config = ConfigDict(frozen=True)

    id: str
    source: Source
    model: str
    model_version: str
    labels: tuple[str, ...]
    """The actions to report, in the order of the columns of ScoreRow.scores; never empty, no background."""
    pace: Pace
    cost_steps_per_s: float
    """Capacity set aside while the session is not ended."""
    created_at: datetime
    owner: str | None = None
    """Id of the API key that submitted it; None when keys were off."""
    upload_bytes: int = 0
    """Size of the uploaded video, 0 for other sources."""
    name: str | None = None
    traceparent: str | None = None
    """W3C trace context of the request that submitted it."""
    webhook: WebhookTarget | None = None
    state: SessionState = "queued"
    code: FailureCode | None = None
    detail: str | None = None
    warnings: tuple[str, ...] = ()
    started_at: datetime | None = None
    ended_at: datetime | None = None
    video: Video | None = None
    position_s: float = 0.0
    frames: int = 0
    last_event_id: str | None = None
    """Id of the newest committed event: number the next with `next_event_id(record.last_event_id, decided_s)`."""
    token: int = 0
    """Fencing token of the claim: pass it to every commit."""


class SessionUpdate(BaseModel):
    """Fields of a session that a commit changes; those left out stay as they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: SessionState | None = None
    code: FailureCode | None = None
    detail: str | None = None
    warnings: tuple[str, ...] | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    video: Video | None = None
    position_s: float | None = None
    frames: int | None = None


@dataclass(frozen=True)
class ScoreRow:
    """Scores of one analysed frame, one in [0, 1] for each of `SessionRecord.labels`."""

    pts_s: float
    scores: Sequence[float]


@dataclass(frozen=True)
class WorkerInfo:
    """A worker and what it can do, as it registered."""

    id: str
    capacity_steps_per_s: float
    models: tuple[ModelInfo, ...]
    push: PushAddress | None = None
    """Where it takes the streams that clients push to its sessions."""


@dataclass(frozen=True)
class Wishes:
    """Ids of a worker's sessions that shall stop, and of those whose pictures somebody looks at."""

    stop: set[str]
    watched: set[str]


@dataclass(frozen=True)
class Load:
    """What the live workers can do and what the sessions that have not ended have set aside, in steps per second."""

    capacity_steps_per_s: float
    reserved_steps_per_s: float
    workers: int
    sessions: dict[SessionState, int]


@dataclass(frozen=True)
class LoggedEvent:
    """An event and its place in the common log; `owner` as in its session's record."""

    cursor: str
    event: Event
    owner: str | None


class Store(KeyStore, Outbox, Protocol):
    """Sessions, their events, scores and checkpoints, shared by servers and workers.

    Every method may raise `errors.StoreUnavailable` or `errors.StorageFull`; none waits longer than a few seconds
    for anything but new events. Unknown session ids raise `errors.NotFound`. Where an `owner` is given, sessions of
    others are as unknown as those that never were.
    """

    # Sessions, for the API

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
        """Queue a session and append its first event, `session.state` queued with id `0-0`.

        Returns the session that the same owner made earlier with the same idempotency key and the same `digest` of the
        body; raises IdempotencyConflict for the same key and another digest, SessionLimit or StorageLimit when the
        owner would go beyond `limits`, OverCapacity when the live workers cannot take `record.cost_steps_per_s` more,
        unless it `may_wait` for them, or when `max_queued` sessions wait already.
        """

    async def get_session(self, session_id: str, *, owner: str | None = None) -> SessionRecord: ...

    async def list_sessions(
        self,
        *,
        limit: int,
        before: str | None = None,
        state: SessionState | None = None,
        owner: str | None = None,
    ) -> tuple[list[SessionRecord], str | None]:
        """Newest first, and the cursor of the next page."""

    async def request_stop(self, session_id: str) -> SessionRecord:
        """Ask the owner to stop it; without a live owner it is `stopped` at once. An ended session stays as it is."""

    async def watch(self, session_id: str) -> None:
        """Somebody looks at its pictures, for WATCHED_S from now. Of no effect when it has ended or is unknown."""

    async def ended_before(self, moment: datetime, *, limit: int) -> list[str]:
        """Ids of sessions that ended before, the longest ago first; good to a second."""

    async def delete_session(self, session_id: str) -> None:
        """Remove an ended session with all that belongs to it. Raises InvalidRequest when it has not ended."""

    # Workers

    async def register_worker(self, worker: WorkerInfo) -> None:
        """Announce a worker; it counts while it renews."""

    async def workers(self) -> list[WorkerInfo]:
        """The live ones."""

    async def worker_of(self, session_id: str) -> WorkerInfo | None:
        """The live worker that has the session, if any."""

    async def load(self) -> Load: ...

    async def claim_session(
        self, worker_id: str, *, room_steps_per_s: float = float("inf"), pace: Pace | None = None
    ) -> SessionRecord | None:
        """Own the next session that waits or has lost its worker, or None.

        Only sessions of the worker's models, of that pace if given, that cost at most `room_steps_per_s`; realtime
        before fast, then oldest first. The record carries a new token; earlier tokens are stale from now on.
        """

    async def renew_leases(self, worker_id: str) -> Wishes:
        """Keep the worker and its sessions for another LEASE_S; what is wished of them.

        Raises LeaseLost when the worker was released: its sessions are others' now.
        """

    async def release_worker(self, worker_id: str) -> None:
        """Forget the worker; its sessions may be claimed at once, and what it still writes raises LeaseLost."""

    # The log

    async def load_checkpoint(self, session_id: str) -> Checkpoint | None: ...

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
        """Append events, move the checkpoint on, update the session and append scores: all of it or nothing.

        An event whose id is not greater than the session's newest is a replay and is left out. An update to an ended
        state must come with its `session.state` event (ValueError); it frees the session and drops its checkpoint.
        Raises LeaseLost when the token is stale.
        """

    async def read_events(self, session_id: str, *, after: str | None = None, limit: int = 500) -> list[Event]:
        """Events of a session with ids greater than `after`, in order."""

    async def read_log(self, *, after: str, limit: int = 500, owner: str | None = None) -> list[LoggedEvent]:
        """Events of all sessions in order of commit, after a cursor; "0" is the beginning."""

    async def log_end(self) -> str:
        """The cursor after which only new events come."""

    async def wait_log(self, after: str, timeout_s: float) -> None:
        """Return when an event was committed after the cursor, by any process, when the time is up, or for nothing.

        One caller at a time: the feed, which tells all clients of the process. Another gets a RuntimeError.
        """

    async def read_scores(
        self, session_id: str, *, after_s: float | None = None, limit: int = 1000
    ) -> list[ScoreRow]: ...

    async def close(self) -> None: ...


def state_event(
    record: SessionRecord,
    state: SessionState,
    *,
    time: datetime,
    code: FailureCode | None = None,
    detail: str | None = None,
) -> SessionStateEvent:
    """The `session.state` event of a session that enters `state` at its present position."""
    return SessionStateEvent(
        id=next_event_id(record.last_event_id, record.position_s),
        session_id=record.id,
        decided_s=record.position_s,
        time=time,
        model=record.model,
        model_version=record.model_version,
        state=state,
        code=code,
        detail=detail,
    )
