"""The wire: sessions, events and models. Requests are in `service.requests`, problems in `service.problem`.

Times in media are seconds from the first frame of the session's video; moments are UTC.
"""

import re
from datetime import datetime
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

SessionState = Literal["queued", "starting", "running", "reconnecting", "completed", "stopped", "failed"]
SESSION_STATES: tuple[SessionState, ...] = get_args(SessionState)
ENDED_STATES: frozenset[SessionState] = frozenset({"completed", "stopped", "failed"})

FailureCode = Literal[
    "source_forbidden",
    "source_unreachable",
    "source_unauthorized",
    "source_timeout",
    "source_unsupported",
    "no_video_stream",
    "decode_failed",
    "limit_exceeded",
    "over_capacity",
    "internal",
]
Pace = Literal["fast", "realtime"]
EventId = Annotated[str, Field(pattern=r"^[0-9]{1,15}-[0-9]{1,9}$", examples=["12433-0"])]
Cursor = Annotated[str, Field(pattern=r"^[0-9]{1,18}$", examples=["1024"])]
"""A position in a list of the store."""
Transport = Literal["tcp", "udp"]


class Wire(BaseModel):
    """Base of all wire types: unknown fields are refused, instances do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# Sessions


class UploadSource(Wire):
    kind: Literal["upload"] = "upload"
    filename: str | None = Field(default=None, description="The name that the client gave; never used as a path.")


class UrlSource(Wire):
    kind: Literal["url"] = "url"
    url: str = Field(description="In answers without user, password and query.")
    transport: Transport = "tcp"
    max_down_s: float | None = None


class PushSource(Wire):
    kind: Literal["push"] = "push"
    max_down_s: float | None = None


Source = Annotated[UploadSource | UrlSource | PushSource, Field(discriminator="kind")]


class Video(Wire):
    """What the decoder found; width and height in pixels after rotation."""

    codec: str
    width: int
    height: int
    rate_hz: float | None
    duration_s: float | None
    rotation_deg: int
    live: bool = Field(default=False, description="It plays on without us: a camera or a broadcast, not a file.")


class WebhookInfo(Wire):
    url: str = Field(description="Without user, password and query.")
    secret: str | None = Field(description="Told once, to the caller that submits; null ever after.")


class SessionLinks(Wire):
    self: str
    events: str
    scores: str
    snapshot: str
    ingest: str | None = Field(description="Where a client pushes the video; null for other sources.")


class Session(Wire):
    id: str
    state: SessionState
    code: FailureCode | None = Field(description="Why the session failed; null unless it did.")
    detail: str | None = Field(description="A sentence about `code`: what to do.")
    warnings: list[str]
    source: Source
    model: str
    labels: list[str] = Field(description="The actions that are reported; the columns of the scores.")
    pace: Pace
    name: str | None
    webhook: WebhookInfo | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    video: Video | None
    position_s: float = Field(description="Media time of the last analysed frame.")
    frames: int = Field(description="Frames analysed.")
    links: SessionLinks


class SessionPage(Wire):
    sessions: list[Session] = Field(description="Newest first.")
    next: str | None = Field(description="Pass as `before` for the next page; null at the end.")


# Events


class Latency(Wire):
    """Seconds from the frame's arrival at the decoder to the decision, and its parts."""

    decode: float
    queue: float
    infer: float
    total: float


class EventBase(Wire):
    id: EventId = Field(description="Grows within the session; `MEDIA_MS-SEQ`, compared as two numbers.")
    session_id: str
    decided_s: float = Field(description="Media time of the frame that decided.")
    time: datetime = Field(description="UTC moment of the decision.")
    model: str
    model_version: str
    traceparent: str | None = Field(default=None, description="W3C trace context of the event, where traces are on.")


class ActionStartEvent(EventBase):
    type: Literal["action.start"] = "action.start"
    label: str
    score: float = Field(ge=0, le=1)
    start_s: float
    latency_s: Latency


class ActionEndEvent(EventBase):
    type: Literal["action.end"] = "action.end"
    label: str
    score: float = Field(ge=0, le=1)
    start_s: float
    end_s: float
    latency_s: Latency


class SessionStateEvent(EventBase):
    type: Literal["session.state"] = "session.state"
    state: SessionState
    code: FailureCode | None = None
    detail: str | None = None


class SessionGapEvent(EventBase):
    type: Literal["session.gap"] = "session.gap"
    gap_s: float = Field(ge=0, description="Length of the hole in the stream; detection restarts after it.")


Event = Annotated[ActionStartEvent | ActionEndEvent | SessionStateEvent | SessionGapEvent, Field(discriminator="type")]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)


class EventPage(Wire):
    events: list[Event] = Field(description="In order of their ids.")
    next: EventId | None = Field(description="Pass as `after` for what follows; null while there is no event yet.")


class LogEntry(Wire):
    """One message of the WebSocket /v1/events: an event of any session and its place in the common log."""

    cursor: str = Field(pattern=r"^[0-9]{1,18}$", description="Grows over all sessions; pass as `after` to resume.")
    event: Event


def event_key(event_id: str) -> tuple[int, int]:
    """`"MEDIA_MS-SEQ"` as two numbers, the order of events. Raises ValueError for anything else."""
    if not re.fullmatch("[0-9]{1,15}-[0-9]{1,9}", event_id):
        raise ValueError(f"not an event id: {event_id!r}")
    media_ms, seq = event_id.split("-")
    return int(media_ms), int(seq)


def next_event_id(last: str | None, decided_s: float) -> str:
    """The id of an event decided at media time `decided_s`, after the session's `last` id: strictly greater."""
    media_ms = max(0, round(decided_s * 1000))
    if last is None or event_key(last)[0] < media_ms:
        return f"{media_ms}-0"
    last_ms, last_seq = event_key(last)
    return f"{last_ms}-{last_seq + 1}"


# Scores, models, health, tickets


class Scores(Wire):
    labels: list[str]
    pts_s: list[float] = Field(description="Media time of each analysed frame.")
    scores: list[list[float]] = Field(description="For each frame one score in [0, 1] per label.")


class SourceLimits(Wire):
    max_upload_bytes: int
    max_pixels: int = Field(description="Of one picture.")
    source_timeout_s: float = Field(description="To open a source, and to get its next picture.")


class Capabilities(Wire):
    schemes: list[str] = Field(description="Of the addresses that a session may name.", examples=[["https", "rtsp"]])
    video_codecs: list[str] = Field(description="As FFmpeg names them.", examples=[["h264", "hevc"]])
    limits: SourceLimits


class ModelInfo(Wire):
    name: str
    version: str = Field(description="Prefix of the SHA-256 of the weights.")
    labels: list[str] = Field(description="The actions, background left out.")
    sample_hz: float = Field(description="Frames analysed per second of video.")
    image_size: int = Field(description="Side of the analysed square, pixels.")


class ModelList(Wire):
    default: str = Field(description="The model of sessions that name none.")
    models: list[ModelInfo]


class Health(Wire):
    status: Literal["ok"] = "ok"


class Ticket(Wire):
    ticket: str = Field(description="Pass as `?ticket=` when opening one WebSocket or EventSource; good for one use.")
    expires_at: datetime
