"""The types of the server's responses. Fields and event types that this version does not know are kept, never rejected.

Media times (`*_s` of events and sessions) are seconds in the video or, for a live source, seconds since its first
frame.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from cake_client.errors import UnexpectedResponseError

ENDED_STATES = frozenset({"completed", "stopped", "failed"})


class Model(BaseModel):
    """Base of the types. `unknown` holds fields that this version does not know, by name."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    @property
    def unknown(self) -> Mapping[str, Any]:
        """Fields that this version does not know, by name."""
        return self.model_extra or {}


M = TypeVar("M", bound=Model)


class Source(Model):
    """Where a video comes from. `kind` is `upload`, `url` or `push`."""

    kind: str
    url: str | None = None
    """Without user, password and query."""
    filename: str | None = None
    stream: int | None = None


class Video(Model):
    """Properties of a video. Sizes in pixels, as displayed."""

    codec: str
    width: int
    height: int
    rate_hz: float | None = None
    duration_s: float | None = None
    live: bool = False


class Region(Model):
    """A part of the frame that is analysed separately, in fractions of the frame's width and height."""

    name: str
    x: float
    y: float
    width: float
    height: float


class Rule(Model):
    """An action begins when its score reaches `enter`, and ends when it falls below `leave`."""

    enter: float
    leave: float
    min_duration_s: float = 0.0
    """An action is published once it has lasted for this long."""
    refractory_s: float = 1.0
    """An action that begins within this time after the end of another is ignored."""


class Webhook(Model):
    """`secret` is only present in the response to the submission."""

    url: str
    secret: str | None = None


class Session(Model):
    """The analysis of one video. `state` is one of `queued`, `starting`, `running`, `reconnecting`, or final."""

    id: str
    state: str
    source: Source
    model: str
    labels: tuple[str, ...]
    created_at: datetime
    model_version: str | None = None
    """Version of an uploaded model, which the session keeps."""
    code: str | None = None
    """Why the session failed."""
    detail: str | None = None
    warnings: tuple[str, ...] = ()
    pace: str = "fast"
    name: str | None = None
    metadata: Mapping[str, str] = {}
    regions: tuple[Region, ...] = ()
    rules: Mapping[str, Rule] = {}
    """The session's own, by label; they replace the model's."""
    start_rules: Mapping[str, Rule] = {}
    """Those in force; empty until a worker has started the session."""
    webhook: Webhook | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    video: Video | None = None
    """None until the source was opened."""
    position_s: float = 0.0
    """Media time of the last analysed frame."""
    frames: int = 0
    last_frame_at: datetime | None = None
    """When the last analysed frame arrived."""

    @property
    def has_ended(self) -> bool:
        """Whether the session has ended."""
        return self.state in ENDED_STATES


class SessionPage(Model):
    """Sessions, and the cursor of the next page if there is one."""

    sessions: tuple[Session, ...]
    next: str | None = None


class Latency(Model):
    """Seconds from the arrival of a frame to the decision, in parts."""

    decode: float
    queue: float
    infer: float
    total: float


class Event(Model):
    """An event. Those of types that this version does not know are plain `Event`s; see `unknown` for their fields."""

    type: str
    id: str
    """Increases within the session."""
    session_id: str
    decided_s: float
    time: datetime
    """When it was decided, UTC."""
    model: str = ""
    model_version: str = ""
    name: str | None = None
    """Of the session."""
    metadata: Mapping[str, str] = {}
    """Of the session."""
    traceparent: str | None = None


class ActionStart(Event):
    """An action started at `start_s`. `score` is in [0, 1]."""

    label: str
    score: float
    start_s: float
    region: str | None = None
    latency_s: Latency | None = None


class ActionEnd(Event):
    """An action ended at `end_s`. `score` is in [0, 1]."""

    label: str
    score: float
    start_s: float
    end_s: float
    region: str | None = None
    latency_s: Latency | None = None


class SessionState(Event):
    """The session changed its state. `code` and `detail` say why it failed or reconnects."""

    state: str
    code: str | None = None
    detail: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether this is its last event."""
        return self.state in ENDED_STATES


class SessionGap(Event):
    """`gap_s` seconds of a live stream were not analysed."""

    gap_s: float


class EventMedia(Event):
    """The clip of the start `event_id` is available. `problem` says why it is not `complete`."""

    event_id: str
    label: str
    start_s: float
    from_s: float
    """Media time of its first frame."""
    to_s: float
    size_bytes: int
    complete: bool
    problem: str | None = None


_EVENT_TYPES: Mapping[str, type[Event]] = {
    "action.start": ActionStart,
    "action.end": ActionEnd,
    "session.state": SessionState,
    "session.gap": SessionGap,
    "event.media": EventMedia,
}


@dataclass(frozen=True)
class Clip:
    """A fragmented MP4. `from_s` is the media time of its first frame."""

    data: bytes
    from_s: float


@dataclass(frozen=True)
class LogEntry:
    """An event of any session, and the cursor to resume after."""

    cursor: str
    event: Event


class _RawEvent(Model):
    type: str


class _RawEntry(Model):
    cursor: str
    event: _RawEvent


class _RawPage(Model):
    events: tuple[_RawEvent, ...]
    next: str | None = None


@dataclass(frozen=True)
class EventPage:
    """Events in order. `next` is the `after` of the next page; None while there are no events."""

    events: tuple[Event, ...]
    next: str | None


def parse(model: type[M], text: str | bytes) -> M:
    """Raises UnexpectedResponseError."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise UnexpectedResponseError(_unreadable(error)) from error


def parse_event(text: str | bytes) -> Event:
    """One event from its JSON. Raises UnexpectedResponseError."""
    return _typed(parse(_RawEvent, text))


def parse_entry(text: str | bytes) -> LogEntry:
    """One message of `/v1/events`. Raises UnexpectedResponseError."""
    entry = parse(_RawEntry, text)
    return LogEntry(entry.cursor, _typed(entry.event))


def parse_page(text: str | bytes) -> EventPage:
    """Raises UnexpectedResponseError."""
    page = parse(_RawPage, text)
    return EventPage(tuple(map(_typed, page.events)), page.next)


def _typed(raw: _RawEvent) -> Event:
    try:
        return _EVENT_TYPES.get(raw.type, Event).model_validate({"type": raw.type, **raw.unknown})
    except ValidationError as error:
        raise UnexpectedResponseError(_unreadable(error)) from error


def _unreadable(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"])) or "the body"
    return (
        f"The response is not one of CAKE's ({place}: {first['msg']}). Check the server's address, and update the"
        " client if the server is newer."
    )
