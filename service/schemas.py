"""The HTTP API's data types: sessions, events and models.

Requests are in `service.requests`, errors in `service.errors`.

Media times are seconds on the clock that a player shows: from the start of a file, also where sound starts
before the first frame, and from the first frame of a live or pushed source. Timestamps are UTC.
"""

import re
from datetime import datetime
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from model.config import Mode, StartRule
from model.video.preprocess import Framing

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
    "model_unavailable",
    "internal",
]
Pace = Literal["fast", "realtime"]
EventId = Annotated[str, Field(pattern=r"^[0-9]{1,15}-[0-9]{1,9}$", examples=["12433-0"])]
Cursor = Annotated[str, Field(pattern=r"^[0-9]{1,18}$", examples=["1024"])]
Transport = Literal["tcp", "udp"]
CameraIdentity = Literal["session", "name"]
WebhookFormat = Literal["standard", "cloudevents", "cloudevents-binary"]


class Schema(BaseModel):
    """Base of the API's types. Unknown fields are rejected; instances are immutable."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        # Responses contain every field, defaults included; clients generated from the description rely on it.
        json_schema_serialization_defaults_required=True,
    )


class Rule(Schema):
    """When the scores of one label become an action, as in the `start_rules` of a checkpoint."""

    # Requests and responses share the description.
    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    enter: float = Field(ge=0, le=1, description="An action begins when the score reaches this.")
    leave: float = Field(ge=0, le=1, description="It ends when the score falls below this; at most `enter`.")
    min_duration_s: float = Field(
        default=0.0, ge=0, le=3600, description="It is an action once it has lasted for this long."
    )
    refractory_s: float = Field(
        default=1.0, ge=0, le=3600, description="What begins within this time after an end is no new action."
    )

    @model_validator(mode="after")
    def _leaves_below_enter(self) -> Self:
        if self.leave > self.enter:
            raise ValueError("leave must not exceed enter")
        return self

    def as_start_rule(self) -> StartRule:
        """The rule as the start decoder takes it."""
        return StartRule(**self.model_dump())


# Sessions


class _VideoSource(Schema):
    stream: int | None = Field(
        default=None, description="Number of the video stream that is analysed, from 0; null: the best one."
    )


class UploadSource(_VideoSource):
    kind: Literal["upload"] = Field(default="upload", description="The video was uploaded.")
    filename: str | None = Field(default=None, description="File name that the client sent; never used as a path.")


class UrlSource(_VideoSource):
    kind: Literal["url"] = Field(default="url", description="The server opens an address.")
    url: str = Field(description="The address; responses omit user, password and query.")
    transport: Transport = Field(default="tcp", description="Transport of an `rtsp` source.")
    max_down_s: float | None = Field(
        default=None, description="The session fails when the source was away for longer; null: never."
    )
    live: bool | None = Field(
        default=None, description="Whether the source is live, as the request said; null: `video.live` says what it is."
    )


class PushSource(_VideoSource):
    kind: Literal["push"] = Field(default="push", description="The client pushes the video to `links.stream`.")
    max_down_s: float | None = Field(
        default=None, description="The session fails when no stream arrives for longer; null: the server's default."
    )


Source = Annotated[UploadSource | UrlSource | PushSource, Field(discriminator="kind")]


class FrameRegion(Schema):
    """A rectangle in a displayed frame, in fractions of its width and height."""

    x: float = Field(ge=0, le=1, description="Left edge.")
    y: float = Field(ge=0, le=1, description="Upper edge.")
    width: float = Field(gt=0, le=1, description="Width.")
    height: float = Field(gt=0, le=1, description="Height.")


REGION_NAME = r"^[^\s,=\x00-\x1f\x7f]+( [^\s,=\x00-\x1f\x7f]+)*$"
MAX_REGION_NAME_LENGTH = 40
RegionName = Annotated[str, Field(max_length=MAX_REGION_NAME_LENGTH, pattern=REGION_NAME, examples=["door"])]


class NamedRegion(FrameRegion):
    """A region of the displayed frame that is analysed on its own."""

    name: RegionName = Field(description="Name of the region; its events carry it. Words without commas and equals.")


class VideoProperties(Schema):
    """Properties of the video, as the decoder found them."""

    codec: str = Field(description="Video codec, as FFmpeg names it.", examples=["h264"])
    width: int = Field(description="Width in pixels, as displayed: with square pixels, after rotation.")
    height: int = Field(description="Height in pixels, as displayed: with square pixels, after rotation.")
    rate_hz: float | None = Field(description="Frames per second; null if unknown.")
    duration_s: float | None = Field(description="Length of the video in seconds; null if unknown or live.")
    rotation_deg: int = Field(description="Rotation that was applied to the frames, clockwise, in degrees.")
    mirrored: bool = Field(
        default=False, description="Whether the frames were mirrored, left to right, before the rotation."
    )
    live: bool = Field(
        default=False,
        description="Whether the source is live (a camera or a broadcast): it cannot be paused or rewound.",
    )
    capture_offset_s: float | None = Field(
        default=None,
        description=(
            "How much later than its capture, by the camera's own clock, a frame arrives: the delay of camera and "
            "network, plus what the camera's clock is behind the server's. By the camera's clock, the frame at media "
            "time t was captured at about `started_at` + t - `capture_offset_s`. Null unless an RTSP camera sends RTCP "
            "sender reports."
        ),
    )
    analysed: FrameRegion | None = Field(
        default=None,
        description="The part of each frame that is analysed; null with regions, or if an older version noted none.",
    )
    analysed_regions: list[FrameRegion] = Field(
        default=[],
        description="With regions: the part of each frame that is analysed for each of them, in their order.",
    )


class WebhookInfo(Schema):
    url: str = Field(description="The address; without user, password and query.")
    secret: str | None = Field(
        description="Secret that signs the deliveries. Returned once, in the response to the submission; else null."
    )


class SessionLinks(Schema):
    """Paths of the session's resources."""

    self: str = Field(description="The session.")
    events: str = Field(description="The session's events.")
    scores: str = Field(description="The session's scores.")
    snapshot: str = Field(description="The latest snapshot, a JPEG image.")
    stream: str | None = Field(description="Where the client pushes the video; null unless the source is `push`.")


class Session(Schema):
    id: str = Field(description="Id of the session.")
    state: SessionState = Field(description="`completed`, `stopped` and `failed` are final.")
    code: FailureCode | None = Field(description="Why the session failed; null unless `state` is `failed`.")
    detail: str | None = Field(description="What is wrong and what to do; null unless there is a problem.")
    warnings: list[str] = Field(description="Problems that did not end the session, as sentences for people.")
    source: Source = Field(description="Where the video comes from.")
    model: str = Field(description="Name of the model.")
    labels: list[str] = Field(description="Actions that are reported.")
    regions: list[NamedRegion] = Field(
        default=[], description="Regions that are analysed, each on its own; empty: the whole frame."
    )
    rules: dict[str, Rule] = Field(description="Rules of the session's own, by label, in place of the model's.")
    start_rules: dict[str, Rule] = Field(
        description="Rules that decide at present, by label: the model's and those of `rules`; empty until a worker "
        "has started the session."
    )
    pace: Pace = Field(description="`realtime`: at the video's own speed; `fast`: as fast as capacity allows.")
    name: str | None = Field(description="Name that the client gave.")
    metadata: dict[str, str] = Field(description="Metadata that the client gave.")
    webhook: WebhookInfo | None = Field(description="Where the events are posted; null if nowhere.")
    created_at: datetime = Field(description="When the session was submitted, UTC.")
    started_at: datetime | None = Field(description="When a worker started the session, UTC; null before that.")
    ended_at: datetime | None = Field(description="When the session ended, UTC; null before that.")
    video: VideoProperties | None = Field(description="Properties of the video; null until the source was opened.")
    position_s: float = Field(description="Media time of the last analysed frame, in seconds.")
    frames: int = Field(description="Number of frames analysed.")
    links: SessionLinks


class SessionPage(Schema):
    sessions: list[Session] = Field(description="Sessions, newest first.")
    next: str | None = Field(description="Pass as `before` to get the next page; null on the last page.")


# Events


class Latency(Schema):
    """End-to-end latency of a decision and its parts, in seconds, from the frame's arrival at the decoder."""

    decode: float = Field(description="Decoding and scaling of the frame.")
    queue: float = Field(description="Waiting for a batch slot.")
    infer: float = Field(description="The model call.")
    total: float = Field(description="From the frame's arrival to the decision.")


class EventBase(Schema):
    id: EventId = Field(description="`MEDIA_MS-SEQ`; increases within the session when compared as two numbers.")
    session_id: str = Field(description="Id of the session.")
    decided_s: float = Field(description="Media time of the frame at which the event was decided, in seconds.")
    time: datetime = Field(description="When the event was decided, UTC.")
    model: str = Field(description="Name of the model.")
    model_version: str = Field(description="Version of the model, as in `GET /v1/models`.")
    name: str | None = Field(default=None, description="Name of the session.", examples=["gate"])
    metadata: dict[str, str] = Field(default={}, description="Metadata of the session.", examples=[{"site": "north"}])
    rules_hash: str | None = Field(
        default=None,
        description="Fingerprint of the rules that decide at present; null before a worker has started the session.",
        examples=["3f6c1f5ad9b2"],
    )
    traceparent: str | None = Field(
        default=None, description="W3C trace context of the event; null unless tracing is enabled."
    )


class _ActionEvent(EventBase):
    region: str | None = Field(
        default=None, description="Name of the region in which the action was found; null in sessions without regions."
    )


class ActionStartEvent(_ActionEvent):
    type: Literal["action.start"] = Field(default="action.start", description="An action started.")
    label: str = Field(description="The action.", examples=["kick"])
    score: float = Field(ge=0, le=1, description="Mean score of the action from `start_s` to `decided_s`.")
    start_s: float = Field(description="Media time at which the action started, in seconds; at most `decided_s`.")
    start_time: datetime | None = Field(
        default=None,
        description="Wall-clock time of `start_s`, UTC, by the arrival of the frames; null unless the source is live.",
    )
    latency_s: Latency


class ActionEndEvent(_ActionEvent):
    type: Literal["action.end"] = Field(default="action.end", description="An action ended.")
    label: str = Field(description="The action.", examples=["kick"])
    score: float = Field(ge=0, le=1, description="Mean score of the action over its whole length.")
    start_s: float = Field(description="Media time at which the action started, in seconds.")
    start_time: datetime | None = Field(
        default=None,
        description="Wall-clock time of `start_s`, UTC, by the arrival of the frames; null unless the source is live.",
    )
    end_s: float = Field(description="Media time at which the action ended, in seconds.")
    latency_s: Latency


class SessionStateEvent(EventBase):
    type: Literal["session.state"] = Field(default="session.state", description="The session changed its state.")
    state: SessionState = Field(description="The new state.")
    code: FailureCode | None = Field(default=None, description="Why the session failed; null unless it did.")
    detail: str | None = Field(
        default=None, description="What is wrong and what to do; null unless there is a problem."
    )


class SessionGapEvent(EventBase):
    type: Literal["session.gap"] = Field(default="session.gap", description="Part of the stream was not analysed.")
    gap_s: float = Field(ge=0, description="Length of the gap in seconds; detection restarts after it.")


class SessionChangedEvent(EventBase):
    type: Literal["session.changed"] = Field(
        default="session.changed", description="Rules, labels, name or metadata of the session have changed."
    )
    labels: list[str] = Field(description="Actions that are reported from now on.")
    start_rules: dict[str, Rule] = Field(description="Rules that decide from now on, by label.")


class EventMediaEvent(EventBase):
    type: Literal["event.media"] = Field(default="event.media", description="The clip of an action can be had.")
    event_id: EventId = Field(description="Id of the `action.start` that the clip shows.")
    label: str = Field(description="The action.", examples=["kick"])
    region: str | None = Field(default=None, description="Region of the action; null in sessions without regions.")
    start_s: float = Field(description="Media time at which the action started, in seconds.")
    from_s: float = Field(description="Media time of the first frame of the clip, in seconds.")
    to_s: float = Field(description="Media time at which the clip ends, in seconds.")
    size_bytes: int = Field(description="Size of the clip.")
    complete: bool = Field(description="Whether it reaches from before to after the start as far as the server is set.")
    problem: str | None = Field(default=None, description="Why it is not complete; null if it is.")


Event = Annotated[
    ActionStartEvent | ActionEndEvent | SessionStateEvent | SessionGapEvent | SessionChangedEvent | EventMediaEvent,
    Field(discriminator="type"),
]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)
EventType = Literal["action.start", "action.end", "session.state", "session.gap", "session.changed", "event.media"]


class EventPage(Schema):
    events: list[Event] = Field(description="Events in the order of their ids.")
    next: EventId | None = Field(description="Pass as `after` to get later events; null while there are no events.")


class LogEntry(Schema):
    """An event of any session and its position in the common log."""

    cursor: str = Field(
        pattern=r"^[0-9]{1,18}$", description="Increases over all sessions; pass as `after` to resume from here."
    )
    event: Event = Field(description="The event.")


class EventLogPage(Schema):
    entries: list[LogEntry] = Field(description="Events of all sessions, each with its cursor.")
    next: Cursor | None = Field(
        description="Pass as `after`, or else as `before`, like in this request, to get the next page, which may be "
        "empty; null on the last page."
    )
    end: Cursor = Field(description="Pass as `after`, to a page or a stream, to get what was not committed yet.")


def event_key(event_id: str) -> tuple[int, int]:
    """Parse `"MEDIA_MS-SEQ"` into two numbers, which define the order of events. Raises ValueError."""
    if not re.fullmatch("[0-9]{1,15}-[0-9]{1,9}", event_id):
        raise ValueError(f"not an event id: {event_id!r}")
    media_ms, seq = event_id.split("-")
    return int(media_ms), int(seq)


def next_event_id(last: str | None, decided_s: float) -> str:
    """Return the id of an event decided at media time `decided_s`: strictly greater than the session's `last` id."""
    media_ms = max(0, round(decided_s * 1000))
    if last is None or event_key(last)[0] < media_ms:
        return f"{media_ms}-0"
    last_ms, last_seq = event_key(last)
    return f"{last_ms}-{last_seq + 1}"


# Scores, models, health, tickets


class Scores(Schema):
    region: str | None = Field(default=None, description="The region whose scores these are; null without regions.")
    labels: list[str] = Field(description="Columns of `scores`: all actions that were reported at any time.")
    pts_s: list[float] = Field(description="Media time of each analysed frame, in seconds.")
    scores: list[list[float | None]] = Field(
        description="For each frame one score in [0, 1] per label; null where the label was added later."
    )


class SourceLimits(Schema):
    max_upload_bytes: int = Field(description="Largest video that can be uploaded, in bytes.")
    max_pixels: int = Field(description="Largest frame that is decoded, in pixels.")
    source_timeout_s: float = Field(description="Time allowed to open a source and to get its next frame, in seconds.")


class Capabilities(Schema):
    schemes: list[str] = Field(description="URL schemes of sources.", examples=[["https", "rtsp"]])
    file_formats: list[str] = Field(
        description="Container formats of files, as FFmpeg names them.", examples=[["mov", "mp4", "matroska"]]
    )
    video_codecs: list[str] = Field(
        description="Video codecs that can be decoded, as FFmpeg names them.", examples=[["h264", "hevc"]]
    )
    limits: SourceLimits


class ModelInfo(Schema):
    name: str = Field(description="Name to submit sessions with.")
    version: str = Field(description="Fingerprint of the weights and of the rules that decide starts.")
    labels: list[str] = Field(description="Actions that the model detects, without the background.")
    sample_hz: float = Field(description="Frames analysed per second of video.")
    image_size: int = Field(description="Side of the network's square input, in pixels.")
    framing: Framing = Field(
        default="centre_crop",
        description="The analysed part of a frame: `stretch` the whole frame, `centre_crop` only its centre square.",
    )
    mode: Mode = Field(
        default="causal",
        description="`causal`: each frame is computed once. `clip`: the last 13 frames are computed again for each "
        "analysed frame, at about 13 times the cost.",
    )
    start_rules: dict[str, Rule] = Field(
        default={}, description="Rules that turn scores into actions, by label; a label without one is never reported."
    )
    warnings: list[str] = Field(
        default=[], description="What to know before using the model, such as start rules that are not calibrated."
    )


class ModelList(Schema):
    default: str = Field(description="Model of sessions that do not name one.")
    models: list[ModelInfo] = Field(description="Models that can be used, by name.")


class Health(Schema):
    status: Literal["ok"] = Field(default="ok", description="Always `ok`; a failed check is an error.")


class Readiness(Health):
    confinement: dict[str, bool] | None = Field(
        description="For each mechanism of the kernel whether it confines the decoders of all workers; null if unknown."
    )


class Ticket(Schema):
    ticket: str = Field(description="Pass as `?ticket=` when opening one WebSocket or EventSource. Valid once.")
    expires_at: datetime = Field(description="When the ticket expires, UTC.")
