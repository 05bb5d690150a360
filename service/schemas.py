"""The HTTP API's data types: sessions, their sources, regions and scores.

Events are in `service.event_schemas`, the server itself in `service.server_schemas`, requests in
`service.requests`, errors in `service.errors`.

Media times are seconds on the clock that a player shows: from the start of a file, also where sound starts
before the first frame, and from the first frame of a live or pushed source. Timestamps are UTC.
"""

from datetime import datetime
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from model.config import StartRule

SessionState = Literal["queued", "starting", "running", "reconnecting", "completed", "stopped", "failed"]
SESSION_STATES: tuple[SessionState, ...] = get_args(SessionState)
ENDED_STATES: frozenset[SessionState] = frozenset({"completed", "stopped", "failed"})
LIVE_STATES: tuple[SessionState, ...] = ("queued", "starting", "running", "reconnecting")

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
Transport = Literal["tcp", "udp"]
MetadataKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
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
        # Validators are built when they are first used: building all of them takes a tenth of a server's start.
        defer_build=True,
    )


class BodySchema(Schema):
    """Base of what FastAPI reads from a body. Built at start: FastAPI expects and hides warnings only then."""

    model_config = ConfigDict(defer_build=False)


class Rule(Schema):
    """When the scores of one label become an action, as in the `start_rules` of a checkpoint."""

    # Requests and responses share the description.
    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    enter: float = Field(ge=0, le=1, description="An action begins when the score reaches this.")
    leave: float = Field(ge=0, le=1, description="An action ends when the score falls below this; at most `enter`.")
    min_duration_s: float = Field(
        default=0.0, ge=0, le=3600, description="An action is published once it has lasted for this long, in seconds."
    )
    refractory_s: float = Field(
        default=1.0,
        ge=0,
        le=3600,
        description="An action that begins within this time after the end of another is ignored, in seconds.",
    )

    @model_validator(mode="after")
    def _leaves_below_enter(self) -> Self:
        if self.leave > self.enter:
            raise ValueError("leave must not exceed enter")
        return self

    def as_start_rule(self) -> StartRule:
        """The rule as the start decoder takes it."""
        return StartRule(**self.model_dump())


class _VideoSource(Schema):
    stream: int | None = Field(
        default=None, description="Number of the video stream that is analysed, from 0; null: chosen by the server."
    )


class UploadSource(_VideoSource):
    """A video that the client uploaded."""

    kind: Literal["upload"] = Field(default="upload", description="The video was uploaded.")
    filename: str | None = Field(default=None, description="File name that the client sent; never used as a path.")


class UrlSource(_VideoSource):
    """A video or camera that the server opens."""

    kind: Literal["url"] = Field(default="url", description="The server opens an address.")
    url: str = Field(description="The address; responses omit user, password and query.")
    transport: Transport = Field(default="tcp", description="Transport of an `rtsp` source.")
    max_down_s: float | None = Field(
        default=None, description="The session fails when the source was unavailable for longer; null: never."
    )
    live: bool | None = Field(
        default=None, description="Whether the request declared the source live; null: see `video.live`."
    )


class PushSource(_VideoSource):
    """A stream that the client sends."""

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
    """A region of the displayed frame that is analysed separately."""

    name: RegionName = Field(description="Name of the region, carried by its events; no commas or equals signs.")


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
            "network, plus the time by which the camera's clock is behind the server's. By the camera's clock, the "
            "frame at media time t was captured at about `started_at` + t - `capture_offset_s`. Null unless an RTSP "
            "camera sends RTCP sender reports."
        ),
    )
    decoding: Literal["learning", "on_motion", "no_signal"] | None = Field(
        default=None,
        description=(
            "With CAKE_QUIET=auto, which frames of a live source are decoded. `on_motion`: all while something moves "
            "or someone watches snapshots, otherwise keyframes. `learning`: all, to learn how the sizes of its frames "
            "change with motion. `no_signal`: all, because the sizes do not reveal motion. Null: all."
        ),
    )
    analysed: FrameRegion | None = Field(
        default=None,
        description="The part of each frame that is analysed; null with regions, and in sessions of old versions.",
    )
    analysed_regions: list[FrameRegion] = Field(
        default=[],
        description="With regions: the part of the frame that is analysed for each of them, in their order.",
    )


class WebhookInfo(Schema):
    """The address that receives the events of a session."""

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
    video: str | None = Field(default=None, description="The uploaded video; null unless the source is `upload`.")
    live: str | None = Field(
        default=None, description="WebSocket of live video and scores; null if the source is known not to be live."
    )


class Session(Schema):
    """The analysis of one video."""

    id: str = Field(description="Id of the session.")
    state: SessionState = Field(description="`completed`, `stopped` and `failed` are final.")
    code: FailureCode | None = Field(description="Why the session failed; null unless `state` is `failed`.")
    detail: str | None = Field(description="What is wrong and what to do; null unless there is a problem.")
    warnings: list[str] = Field(description="Problems that did not end the session, as sentences for users.")
    source: Source = Field(description="Where the video comes from.")
    model: str = Field(description="Name of the model.")
    model_version: str = Field(
        description="Version of an uploaded model, which the session keeps; of a configured one, when it was submitted."
    )
    labels: list[str] = Field(description="Actions that are reported.")
    regions: list[NamedRegion] = Field(
        default=[], description="Regions that are analysed separately; empty: the whole frame."
    )
    rules: dict[str, Rule] = Field(description="The session's own rules, by label; they replace the model's.")
    start_rules: dict[str, Rule] = Field(
        description="Rules in force, by label: the model's and those of `rules`; empty until a worker "
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
    last_frame_at: datetime | None = Field(
        default=None, description="When the last analysed frame arrived, UTC; null before the first."
    )
    links: SessionLinks


class SessionPage(Schema):
    """A page of sessions."""

    sessions: list[Session] = Field(description="Sessions, newest first.")
    next: str | None = Field(description="Pass as `before` to get the next page; null on the last page.")


class Scores(Schema):
    """Scores of the analysed frames, in the order of their media times."""

    region: str | None = Field(default=None, description="The region whose scores these are; null without regions.")
    labels: list[str] = Field(description="Columns of `scores`: all actions that the session ever reported.")
    pts_s: list[float] = Field(description="Media time of each analysed frame, in seconds.")
    scores: list[list[float | None]] = Field(
        description="For each frame one score in [0, 1] per label; null where the label was added later."
    )
