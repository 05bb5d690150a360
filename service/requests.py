"""The wire: what callers ask for."""

from typing import Annotated, Literal, Self

from pydantic import AnyUrl, Field, UrlConstraints, field_validator, model_validator

from service.schemas import Pace, Transport, Wire
from service.webhooks.signature import SECRET_PATTERN, secret_key

SOURCE_SCHEMES = ["http", "https", "rtsp", "rtsps", "rtmp", "rtmps", "srt"]
SourceUrl = Annotated[AnyUrl, UrlConstraints(max_length=4096, allowed_schemes=SOURCE_SCHEMES, host_required=True)]
WebhookUrl = Annotated[AnyUrl, UrlConstraints(max_length=2048, allowed_schemes=["http", "https"], host_required=True)]


class SourceRequest(Wire):
    """Where the video comes from: either `url`, or `push` if the client itself will send it."""

    url: SourceUrl | None = Field(
        default=None,
        description="Address of a video or a camera; GET /v1/capabilities has the schemes.",
        examples=["https://example.org/clip.mp4", "rtsp://user:password@camera.example.org/stream"],
    )
    push: Literal[True] | None = Field(
        default=None, description="The client sends the video to the session's `links.ingest`, by PUT or WebSocket."
    )
    transport: Transport = Field(default="tcp", description="How an rtsp camera sends its video.")
    max_down_s: float | None = Field(
        default=None,
        gt=0,
        description="A live source that has been away for so long fails the session; without it, never. "
        "A pushed stream that has not come for so long does, too; without it, after a minute.",
    )

    @model_validator(mode="after")
    def _is_one_source(self) -> Self:
        if (self.url is None) == (self.push is None):
            raise ValueError("give either url or push")
        if self.transport == "udp" and (self.url is None or self.url.scheme != "rtsp"):
            raise ValueError("transport udp is for rtsp addresses alone")
        return self


class WebhookRequest(Wire):
    url: WebhookUrl = Field(description="Gets each event by POST, in order, at least once, signed.")
    secret: str | None = Field(
        default=None,
        json_schema_extra={"pattern": SECRET_PATTERN},
        description="`whsec_` and 24 to 64 bytes in base64, by which you check the signature; made for you if absent.",
    )

    @field_validator("secret")
    @classmethod
    def _is_a_secret(cls, value: str | None) -> str | None:
        if value is not None:
            secret_key(value)
        return value


class SessionOptions(Wire):
    """What a caller may choose beside the video: the optional JSON part `session` of an upload."""

    model: str | None = Field(
        default=None, max_length=100, description="A name from GET /v1/models; the default model if absent."
    )
    labels: list[str] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Report only these actions; all of the model's if absent.",
    )
    pace: Pace = Field(
        default="fast",
        description="`realtime` plays a file at its own speed, as a camera would. Cameras are `realtime` whatever this"
        " says.",
    )
    name: str | None = Field(default=None, max_length=200, description="A name for people; need not be unique.")
    webhook: WebhookRequest | None = Field(default=None, description="Post this session's events to a URL.")


class SessionRequest(SessionOptions):
    """Analyse the video behind a URL, or one that the client pushes."""

    source: SourceRequest
