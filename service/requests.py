"""The HTTP API's data types: what clients send."""

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from model.video.source import LIVE_SCHEMES
from service.event_schemas import EventId
from service.request_secrets import WebhookSecret
from service.request_urls import SourceUrl, WebhookUrl
from service.schemas import BodySchema, MetadataKey, NamedRegion, Pace, Rule, Schema, Transport

MAX_STREAMS = 100
MAX_REGIONS = 8
MIN_REGION_SIDE = 0.01
ROUNDING = 1e-6
"""How far the sum of two decimal fractions may exceed 1."""
MAX_METADATA_BYTES = 4096


def _with_bounded_size(metadata: dict[str, str]) -> dict[str, str]:
    """Every event carries the metadata, so it is small."""
    size_bytes = sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items())
    if size_bytes > MAX_METADATA_BYTES:
        raise ValueError(f"has {size_bytes} bytes of keys and values, more than {MAX_METADATA_BYTES}")
    return metadata


Metadata = Annotated[dict[MetadataKey, str], AfterValidator(_with_bounded_size)]


Name = Annotated[str, Field(max_length=200)]
Labels = Annotated[list[str], Field(min_length=1, max_length=1000)]
Rules = Annotated[dict[str, Rule], Field(max_length=1000)]


class UploadedSourceRequest(Schema):
    """Which part of an uploaded video to analyse."""

    stream: int | None = Field(
        default=None,
        ge=0,
        lt=MAX_STREAMS,
        description="Number of the video stream to analyse, from 0 in the order of the container. Default: the stream"
        " that is marked as default, or else the first that shows a video.",
    )


class SourceRequest(UploadedSourceRequest):
    """Where the video comes from: either `url`, or `push` if the client will send the video itself."""

    url: SourceUrl | None = Field(
        default=None,
        description="Address of a video or a camera. `GET /v1/capabilities` lists the schemes.",
        examples=["https://example.org/clip.mp4", "rtsp://user:password@camera.example.org/stream"],
    )
    push: bool = Field(
        default=False,
        description="The client pushes the video to the session's `links.stream`.",
    )
    transport: Transport = Field(default="tcp", description="Transport of an `rtsp` source.")
    max_down_s: float | None = Field(
        default=None,
        gt=0,
        description="Reconnect timeout in seconds: the session fails when a live source was unavailable for longer"
        " (default: never), or when no stream was pushed for longer (default: 60 s).",
    )

    live: bool | None = Field(
        default=None,
        description="Whether an `http` or `https` source is live: read as it arrives, reconnected when it ends, and not"
        " limited in length. By default a source is live if it states no length. Cameras are always live.",
    )

    @model_validator(mode="after")
    def _is_one_source(self) -> Self:
        if (self.url is None) != self.push:
            raise ValueError("set either url or push")
        if self.transport == "udp" and (self.url is None or self.url.scheme != "rtsp"):
            raise ValueError("transport udp is only available for rtsp addresses")
        if self.live is not None and (self.url is None or self.url.scheme in LIVE_SCHEMES):
            raise ValueError("live is only available for http and https addresses")
        return self


class WebhookRequest(Schema):
    """An address that receives the events of a session."""

    url: WebhookUrl = Field(description="Address that each event is posted to: signed, in order, at least once.")
    secret: WebhookSecret | None = Field(
        default=None,
        description="Secret that signs the deliveries: `whsec_` and 24 to 64 bytes in base64. Generated if absent.",
    )


class RegionRequest(NamedRegion):
    """A region of the displayed frame to analyse separately: a rectangle in fractions of the frame's sides."""

    width: float = Field(ge=MIN_REGION_SIDE, le=1, description="Width; the right edge, `x + width`, is at most 1.")
    height: float = Field(ge=MIN_REGION_SIDE, le=1, description="Height; the lower edge, `y + height`, is at most 1.")

    @field_validator("width", "height")
    @classmethod
    def _ends_in_the_frame(cls, side: float, info: ValidationInfo) -> float:
        corner = "x" if info.field_name == "width" else "y"
        end = info.data.get(corner, 0.0) + side
        if end > 1 + ROUNDING:
            raise ValueError(
                f"{corner} + {info.field_name} is {end:g}; a region must end within the frame, at most at 1"
            )
        return side


def _with_names_of_their_own(regions: list[RegionRequest]) -> list[RegionRequest]:
    names = [region.name for region in regions]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"each region needs a unique name; {', '.join(repeated)} occurs more than once")
    return regions


class SessionOptions(Schema):
    """Options of every session."""

    model: str | None = Field(
        default=None, max_length=100, description="Name of a model, see `GET /v1/models`. Default: the default model."
    )
    labels: Labels | None = Field(default=None, description="Actions to report. Default: all actions of the model.")
    rules: Rules = Field(
        default={},
        description="Rules that turn scores into actions, by label; they replace the model's rules.",
        examples=[{"kick": {"enter": 0.7, "leave": 0.4, "min_duration_s": 0.2, "refractory_s": 1.0}}],
    )
    regions: Annotated[list[RegionRequest], AfterValidator(_with_names_of_their_own)] = Field(
        default=[],
        max_length=MAX_REGIONS,
        description="Regions of the frame to analyse, each separately, instead of the whole frame. Each takes as much"
        " capacity as a session, but the video is decoded once.",
    )
    pace: Pace = Field(
        default="fast",
        description="`realtime` plays a file at its own speed, as a camera would; `fast` analyses it as fast as"
        " capacity allows. Cameras are always `realtime`.",
    )
    name: Name | None = Field(default=None, description="Display name; need not be unique.")
    metadata: Metadata = Field(
        default={},
        description="Your own data about the session, such as the site or the camera's number: strings by key, at most"
        " 4 kB together. Every event carries them. Keys consist of letters, digits, `_`, `.` and `-`.",
        examples=[{"site": "north", "floor": "2"}],
    )
    webhook: WebhookRequest | None = Field(default=None, description="Post the session's events to an address.")


class UploadOptions(SessionOptions):
    """Options of a session; the optional JSON part `session` of an upload."""

    source: UploadedSourceRequest = Field(default=UploadedSourceRequest(), description="Options of the video.")


class SessionRequest(SessionOptions):
    """A session whose video is opened by the server or pushed by the client."""

    source: SourceRequest


class SessionChange(BodySchema):
    """What to change of a session. Fields that are absent stay as they are; the others are replaced as a whole."""

    rules: Rules = Field(
        default={}, description="Rules that turn scores into actions, by label; other labels have the model's rules."
    )
    labels: Labels | None = Field(default=None, description="Actions to report; null for all actions of the model.")
    model_version: Literal["latest"] | None = Field(
        default=None,
        description="`latest`: continue with the version of the model that new sessions get; its detection starts "
        "afresh. null or absent: keep the version.",
    )
    name: Name | None = Field(default=None, description="Display name; null for none.")
    metadata: Metadata = Field(default={}, description="Strings by key, at most 4 kB together.")


class RulesTrial(BodySchema):
    """Rules to try on the scores that a session kept."""

    rules: Rules = Field(default={}, description="By label; labels that are not named keep the rules in force.")
    after_s: float | None = Field(default=None, allow_inf_nan=False, description="Only frames after this media time.")
    until_s: float | None = Field(default=None, allow_inf_nan=False, description="Only frames until this media time.")


class Redelivery(BodySchema):
    """Which events to deliver to a webhook again."""

    after: EventId | None = Field(default=None, description="Only the events after this one; all if absent.")


class SecretRotation(BodySchema):
    """A new secret for a webhook."""

    secret: WebhookSecret | None = Field(
        default=None,
        description="`whsec_` followed by 24 to 64 bytes in base64; generated if absent.",
    )
    keep_old_s: float = Field(
        default=24 * 3600.0,
        ge=0,
        le=7 * 24 * 3600.0,
        allow_inf_nan=False,
        description="How long deliveries are also signed with the old secret, in seconds.",
    )
