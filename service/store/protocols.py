"""The interface of a store, one protocol per subject; `sqlite` and `redis` implement each of them.

Depend on the part you use, not on `Store`. Every method may raise StoreUnavailableError or StorageFullError, and
returns within a few seconds, except `EventLog.wait`. Unknown session ids raise NotFoundError. Sessions that
`sight` does not show are unknown too.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from service.access.keys import Limits
from service.access.sight import ALL, Sight
from service.event_filter import EVERYTHING, EventFilter
from service.event_schemas import Event
from service.feedback import Feedback
from service.schemas import Pace, SessionState
from service.store.delivery_protocols import Outbox, Subscriptions
from service.store.key_protocol import Keys
from service.store.model_records import UploadedModel
from service.store.records import (
    LoggedEvent,
    LogPage,
    ResumePoint,
    ScoreRow,
    SessionRecord,
    SessionUpdate,
    SettingsChange,
)
from service.store.shadow_records import Shadows
from service.store.worker_records import LeaseRenewal, ServiceLoad, WorkerInfo


class Sessions(Protocol):
    """Sessions as the API sees them."""

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
        """Queue a session and append its first event, `session.state` queued with id `0-0`.

        Returns the earlier session when the same owner repeats an idempotency key with the same `digest` of the body.

        Raises:
            IdempotencyConflictError: The key came with another digest before.
            UnknownModelError: The pinned version of its model is not stored.
            SessionLimitError: The owner has `limits.max_sessions` sessions that have not ended.
            StorageLimitError: The owner's uploads would exceed `limits.max_stored_bytes`.
            OverCapacityError: `max_queued` sessions are waiting, or the live workers have less than
                `record.cost_steps_per_s` to spare and the session must not wait for them (`may_wait`).
        """

    async def get(self, session_id: str, *, sight: Sight = ALL) -> SessionRecord:
        """One session."""

    async def page(
        self,
        *,
        limit: int,
        before: str | None = None,
        state: SessionState | None = None,
        wanted: EventFilter = EVERYTHING,
        sight: Sight = ALL,
    ) -> tuple[list[SessionRecord], str | None]:
        """Sessions whose name and metadata `wanted` passes, newest first, and the cursor of the next page."""

    async def live(self, *, limit: int, sight: Sight = ALL) -> list[SessionRecord]:
        """Sessions that have not ended, oldest first."""

    async def change(self, session_id: str, change: SettingsChange) -> SessionRecord:
        """Change settings of a session. Its worker, if it has not ended, applies them and publishes that.

        Raises:
            SessionEndedError: Rules, labels or model version were to change, but the session has ended.
            UnknownModelError: The version is not stored.
        """

    async def request_stop(self, session_id: str) -> SessionRecord:
        """Ask the session's live worker to stop it, or end it as `stopped` when it has none. Idempotent."""

    async def unowned(self) -> list[str]:
        """Ids of sessions that have begun and not ended, but that no live worker has."""

    async def requeue(self, session_id: str, detail: str) -> bool:
        """Make a session `queued` and say why. Returns False if a live worker has it or it has ended.

        Any worker may claim it then, and continues it from its resume point.
        """

    async def watch(self, session_id: str) -> None:
        """Note a watcher of the session's snapshots for WATCHED_S; no effect on ended or unknown sessions."""

    async def ended_before(self, moment: datetime, *, limit: int) -> list[str]:
        """Ids of sessions that ended before `moment`, oldest first; accurate to a second."""

    async def existing(self, session_ids: Sequence[str]) -> set[str]:
        """Those of the ids that belong to a session."""

    async def require_ended(self, session_id: str) -> None:
        """Check that `delete` would succeed.

        Raises:
            InvalidRequestError: The session has not ended.
        """

    async def delete(self, session_id: str) -> None:
        """Remove an ended session and everything that belongs to it.

        Raises:
            InvalidRequestError: The session has not ended.
        """


class Workers(Protocol):
    """Workers, their leases and the sessions that they claim."""

    async def register(self, worker: WorkerInfo) -> None:
        """Announce a worker; it stays live while it renews."""

    async def announce(self, worker: WorkerInfo) -> None:
        """Replace what a registered worker offers; unlike `register`, it keeps its sessions.

        Raises:
            LeaseLostError: The worker was released and its sessions may be claimed by others.
        """

    async def live(self) -> list[WorkerInfo]:
        """The live workers."""

    async def owner_of(self, session_id: str) -> WorkerInfo | None:
        """The live worker that has the session, if any."""

    async def load(self) -> ServiceLoad:
        """Capacity, reservations and the number of sessions by state."""

    async def claim(
        self, worker_id: str, *, room_steps_per_s: float = float("inf"), pace: Pace | None = None
    ) -> SessionRecord | None:
        """Take the next session that is queued or whose worker has died; None when there is none.

        Considers sessions of the worker's models, of that pace if given, that cost at most `room_steps_per_s`:
        realtime before fast, then oldest first. The record carries a new token; earlier tokens become stale.
        """

    async def until_claimable(self, timeout_s: float) -> None:
        """Return when there may be another session to claim, at the latest after `timeout_s`."""

    async def renew(self, worker_id: str) -> LeaseRenewal:
        """Keep the worker and its sessions for another LEASE_S.

        Raises:
            LeaseLostError: The worker was released and its sessions may be claimed by others.
        """

    async def release(self, worker_id: str) -> None:
        """Remove the worker. Its sessions may be claimed immediately, and its later commits raise LeaseLostError."""


class EventLog(Protocol):
    """Events, scores and resume points that workers commit, and how they are read."""

    async def load_resume_point(self, session_id: str) -> ResumePoint | None:
        """Where the session resumes; None when nothing was committed yet."""

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
        """Append events and scores, replace the resume point and update the session, in one transaction.

        An event whose id is not greater than the session's newest is a replay and is skipped. An update to an ended
        state frees the session's reservation and drops its resume point.

        Raises:
            LeaseLostError: The token is stale.
            ValueError: The update ends the session but its `session.state` event is missing.
        """

    async def read_events(self, session_id: str, *, after: str | None = None, limit: int = 500) -> list[Event]:
        """Events of a session with ids greater than `after`, in order."""

    async def read(self, *, after: str, limit: int = 500, sight: Sight = ALL) -> LogPage:
        """Events of all sessions in the order of their commits, after a cursor; "0" is the beginning.

        A page with fewer than `limit` entries reaches the end of the log.
        """

    async def read_back(self, *, before: str | None = None, limit: int = 500, sight: Sight = ALL) -> LogPage:
        """Events of all sessions, newest first, before a cursor or else from the end.

        A page with fewer than `limit` entries reaches the beginning of the log.
        """

    async def in_sight(self, entries: Sequence[LoggedEvent], sight: Sight) -> list[LoggedEvent]:
        """Those of the entries whose sessions `sight` shows."""

    async def end(self) -> str:
        """The cursor after which only new events come."""

    async def wait(self, after: str, timeout_s: float) -> None:
        """Return once an event may have been committed after the cursor, by any process, or after `timeout_s`.

        Raises:
            RuntimeError: Another task of this process is waiting. Only the feed waits; it serves all clients.
        """

    async def read_scores(self, session_id: str, *, after_s: float | None = None, limit: int = 1000) -> list[ScoreRow]:
        """Scores of a session's frames later than `after_s`, in order."""


class FeedbackOfSessions(Protocol):
    """Feedback of people on the actions of sessions. It is deleted with its session."""

    async def put(self, session_id: str, feedback: Feedback, *, max_kept: int) -> bool:
        """Keep feedback, in place of that with the same id. Returns False when the session has `max_kept` others."""

    async def delete(self, session_id: str, feedback_id: str) -> None:
        """Remove feedback, if it exists."""

    async def of_session(self, session_id: str) -> list[Feedback]:
        """All feedback of a session, by `start_s`; none of an unknown session."""


class Models(Protocol):
    """Uploaded models, of which several versions may be kept."""

    async def put(self, model: UploadedModel, *, max_kept: int) -> None:
        """Keep a version, in place of the record of the same version.

        Raises:
            ModelLimitError: `max_kept` other versions of models are kept.
        """

    async def all(self) -> list[UploadedModel]:
        """All versions, by time of upload."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete versions, all or none. Unknown keys are ignored.

        Raises:
            ModelInUseError: Sessions that have not ended are pinned to one of them.
        """


@dataclass(frozen=True)
class Store:
    """The parts of one open store, shared by servers and workers."""

    sessions: Sessions
    workers: Workers
    log: EventLog
    keys: Keys
    outbox: Outbox
    subscriptions: Subscriptions
    feedback: FeedbackOfSessions
    models: Models
    shadows: Shadows
    close: Callable[[], Awaitable[None]]
