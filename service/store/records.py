"""What the store keeps: sessions, their events, scores and resume points."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

from pydantic import BaseModel, ConfigDict, Field, model_validator

from model.video.media_time import TimeZero
from service.event_schemas import Event, SessionStateEvent, next_event_id
from service.schemas import FailureCode, NamedRegion, Pace, Rule, SessionState, VideoProperties
from service.sources.stored import StoredModel, StoredSource
from service.store.model_records import model_key
from service.store.previous_release import join_video
from service.store.webhook_records import StoredWebhook

WATCHED_S = 5.0
"""For this long after a request for a session's snapshot, its worker makes snapshots often."""


class SessionRecord(StoredModel):
    """A session as stored; `service.store.reading` writes and reads it."""

    id: str
    source: StoredSource
    model: str
    model_version: str
    is_version_pinned: bool = False
    """Whether only this version of the model may run it, as with uploaded models. Otherwise any loaded version may."""
    labels: tuple[str, ...]
    """The actions to report; never empty, without background."""
    columns: tuple[str, ...] = ()
    """Labels of the columns of ScoreRow.scores once `labels` were changed; empty before: `labels`."""
    rules: dict[str, Rule] = Field(default={})
    """The session's own rules, which replace the model's."""
    start_rules: dict[str, Rule] = Field(default={})
    """The rules that its worker decides by; empty before the first one."""
    rules_hash: str | None = None
    """Fingerprint of `start_rules`."""
    revision: int = 0
    """How often its rules, labels, model version, name or metadata were changed."""
    applied_revision: int = 0
    """The revision that its worker has published."""
    pace: Pace
    cost_steps_per_s: float
    """Capacity reserved until the session ends."""
    created_at: datetime
    owner: str | None = None
    """Id of the API key that submitted it; None when authentication was off."""
    time_zero: TimeZero = "first_frame"
    """What media time 0 of a file is. Records of versions before 0.2 have no such field and keep the first frame."""
    upload_bytes: int = 0
    """Size of the uploaded video, 0 for other sources."""
    name: str | None = None
    metadata: dict[str, str] = Field(default={})
    traceparent: str | None = None
    """W3C trace context of the request that submitted it."""
    webhook: StoredWebhook | None = None
    state: SessionState = "queued"
    code: FailureCode | None = None
    detail: str | None = None
    warnings: tuple[str, ...] = ()
    started_at: datetime | None = None
    ended_at: datetime | None = None
    video: VideoProperties | None = None
    position_s: float = 0.0
    frames: int = 0
    last_frame_at: datetime | None = None
    """When the newest analysed frame arrived, by the worker's clock."""
    last_action_at: datetime | None = None
    """When the newest start or end of an action was decided."""
    dropped_frames: int = 0
    """Frames of a live source that were not analysed."""
    reconnects: int = 0
    last_event_id: str | None = None
    """Id of the newest committed event: number the next with `next_event_id(record.last_event_id, decided_s)`."""
    token: int = 0
    """Fencing token of the claim: pass it to every commit."""
    worker_deaths: int = 0
    """How many workers in a row died while they ran it, without progress of the session."""
    claimed_at_position_s: float | None = None
    """`position_s` when its worker claimed it; None before the first claim and after it was handed over."""

    _read_video = model_validator(mode="before")(join_video)

    @property
    def model_key(self) -> str:
        """The name under which workers have loaded what it runs on."""
        return model_key(self.model, self.model_version) if self.is_version_pinned else self.model

    @property
    def regions(self) -> tuple[NamedRegion, ...]:
        """The regions that are analysed separately; none: the whole frame."""
        return self.source.regions or ()

    @property
    def streams(self) -> int:
        """How many streams of the detector it needs: one for each region, or one."""
        return max(1, len(self.regions))

    @property
    def score_labels(self) -> tuple[str, ...]:
        """Labels of the columns of ScoreRow.scores; a row from before the last were added is shorter."""
        return self.columns or self.labels


class SettingsChange(BaseModel):
    """What a client changes of a session; fields that are not set stay as they are."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: str | None = None
    metadata: dict[str, str] = Field(default={})
    labels: tuple[str, ...] = ()
    rules: dict[str, Rule] = Field(default={})
    model_version: str = ""
    is_version_pinned: bool = False


class SessionUpdate(BaseModel):
    """Fields of a session that a commit changes; fields that are not set stay as they are."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    state: SessionState | None = None
    code: FailureCode | None = None
    detail: str | None = None
    warnings: tuple[str, ...] | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    video: VideoProperties | None = None
    position_s: float | None = None
    frames: int | None = None
    last_frame_at: datetime | None = None
    last_action_at: datetime | None = None
    dropped_frames: int = 0
    reconnects: int = 0
    start_rules: dict[str, Rule] = Field(default={})
    rules_hash: str | None = None
    applied_revision: int = 0
    worker_deaths: int | None = None
    claimed_at_position_s: float | None = None


def requeued(record: SessionRecord, detail: str) -> SessionUpdate:
    """What changes when a session goes back to the queue."""
    if record.state == "reconnecting":
        # The death of the worker is not the fault of a source that was unavailable.
        return SessionUpdate(state="queued", code=None, detail=detail, claimed_at_position_s=None)
    return SessionUpdate(state="queued", code=None, detail=detail)


@dataclass(frozen=True)
class ScoreRow:
    """Scores of one analysed frame, one in [0, 1] for each of `SessionRecord.score_labels`; with regions, those of the
    first region, then those of the second, and so on.
    """

    pts_s: float
    scores: Sequence[float]

    def of_stream(self, number: int, streams: int) -> Sequence[float]:
        """The scores of one of `streams` regions, counted from 0."""
        columns = len(self.scores) // streams
        return self.scores[number * columns : (number + 1) * columns]


@dataclass(frozen=True)
class DetectorSnapshot:
    """The serialised detector state after the frame at `position_s`; with regions, the states of all of them."""

    position_s: float
    state: bytes


NO_SNAPSHOT = DetectorSnapshot(0.0, b"")
"""Detection has to restart from the initial state."""


@dataclass(frozen=True)
class ResumePoint:
    """Where a session resumes after a crash: right after its last committed event.

    The detector snapshot is large, so it may be older: on resume the frames since then are replayed and their events
    are not published again. None keeps the snapshot that was committed before; in a resume point that was read, it
    means that the detector has seen no frame yet.
    """

    position_s: float
    starts: dict[str, object]
    frames: int
    detector: DetectorSnapshot | None


@dataclass(frozen=True)
class LoggedEvent:
    """An event and its place in the common log; `owner` as in its session's record."""

    cursor: str
    event: Event
    owner: str | None


@dataclass(frozen=True)
class LogPage:
    """Events of the common log, and the cursor after the last one that was examined, readable or not."""

    entries: list[LoggedEvent]
    cursor: str


@dataclass(frozen=True)
class KeyUsage:
    """What one API key uses: sessions that have not ended, and bytes of the uploads of all its sessions."""

    sessions: int
    stored_bytes: int


def with_change(record: SessionRecord, change: SettingsChange) -> SessionRecord:
    """The record of a session after a change of its settings."""
    changed = record.model_copy(update={name: getattr(change, name) for name in change.model_fields_set})
    columns = tuple(dict.fromkeys((*record.score_labels, *changed.labels)))
    if columns == changed.labels:
        columns = ()
    return changed.model_copy(update={"columns": columns, "revision": record.revision + 1})


class EventFields(TypedDict):
    """What the events of a session have in common."""

    id: str
    session_id: str
    decided_s: float
    time: datetime
    model: str
    model_version: str
    name: str | None
    metadata: dict[str, str]
    rules_hash: str | None


def event_fields(record: SessionRecord, decided_s: float, *, time: datetime) -> EventFields:
    """The common fields of the session's next event, which is decided at media time `decided_s`."""
    return {
        "id": next_event_id(record.last_event_id, decided_s),
        "session_id": record.id,
        "decided_s": round(decided_s, 3),
        "time": time,
        "model": record.model,
        "model_version": record.model_version,
        "name": record.name,
        "metadata": record.metadata,
        "rules_hash": record.rules_hash,
    }


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
        **event_fields(record, record.position_s, time=time),
        state=state,
        code=code,
        detail=detail,
    )
