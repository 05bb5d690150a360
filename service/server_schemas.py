"""The HTTP API's data types of the server itself: its models, capabilities, health and tickets."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from model.config import Mode
from model.video.preprocess import Framing
from service.schemas import Rule, Schema


class SourceLimits(Schema):
    """Limits of sources."""

    max_upload_bytes: int = Field(description="Largest video that can be uploaded, in bytes.")
    max_pixels: int = Field(description="Largest frame that is decoded, in pixels.")
    source_timeout_s: float = Field(description="Time allowed to open a source and to get its next frame, in seconds.")


class Capabilities(Schema):
    """What this server can read."""

    schemes: list[str] = Field(description="URL schemes of sources.", examples=[["https", "rtsp"]])
    file_formats: list[str] = Field(
        description="Container formats of files, as FFmpeg names them.", examples=[["mov", "mp4", "matroska"]]
    )
    video_codecs: list[str] = Field(
        description="Video codecs that can be decoded, as FFmpeg names them.", examples=[["h264", "hevc"]]
    )
    limits: SourceLimits
    camera_discovery: bool = Field(
        description="Whether `POST /v1/cameras:discover` can find cameras: only if CAKE_SOURCE_ALLOW allows networks."
    )


ModelOrigin = Literal["configured", "uploaded"]


class ModelInfo(Schema):
    """A model that a worker has loaded."""

    name: str = Field(description="Name to submit sessions with.")
    version: str = Field(description="Fingerprint of the weights and of the rules that decide starts.")
    labels: list[str] = Field(description="Actions that the model detects, without the background.")
    display_names: dict[str, str] = Field(
        default={}, description="What labels are called for people, by label; a label need not have one."
    )
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
        default=[], description="Limitations of the model, such as start rules that are not calibrated."
    )
    origin: ModelOrigin = Field(
        default="configured",
        description="`configured`: named in the settings of the workers. `uploaded`: with `PUT /v1/models/{name}`.",
    )


class ModelOnWorker(Schema):
    """Whether a worker has loaded a model."""

    worker: str = Field(description="Id of the worker.")
    state: Literal["loaded", "absent", "failed"] = Field(
        description="`absent`: not loaded yet, or the worker's settings do not name it. `failed`: it cannot be loaded "
        "there."
    )
    detail: str | None = Field(description="Why it failed, as a sentence; otherwise null.")


class ModelShadow(Schema):
    """A version that follows the live sessions of a model until it is promoted; what it finds is not published."""

    version: str = Field(description="Fingerprint of its weights and of its rules.")
    uploaded_at: datetime = Field(description="When it was uploaded, UTC.")
    workers: list[ModelOnWorker] = Field(description="Whether each live worker has loaded it.")


class ModelDetail(ModelInfo):
    """A model, its card, and the workers that have it."""

    card: str | None = Field(
        default=None, description="Its model card in Markdown, with its test figures; null if it has none."
    )
    size_bytes: int | None = Field(default=None, description="Size of its files; null unless it was uploaded.")
    uploaded_at: datetime | None = Field(
        default=None, description="When this version was last uploaded, UTC; null unless it was uploaded."
    )
    workers: list[ModelOnWorker] = Field(description="The live workers.")
    shadow: ModelShadow | None = Field(default=None, description="Its shadow version; null if it has none.")


class ModelList(Schema):
    """The models that sessions can use."""

    default: str = Field(description="Model of sessions that do not name one.")
    models: list[ModelInfo] = Field(description="Models that can be used, by name.")


class Health(Schema):
    """The result of a successful check."""

    status: Literal["ok"] = Field(default="ok", description="Always `ok`; a failed check is an error.")


StoreState = Literal["ok", "late"]


class StoreReadiness(Health):
    """The result of a successful check of the store."""

    store: StoreState = Field(
        description="`late`: the store has not answered for more than a second, but did so within the last 20 s."
    )


class Readiness(StoreReadiness):
    """The result of a successful readiness check."""

    confinement: dict[str, bool] | None = Field(
        description="For each kernel mechanism, whether it confines the decoders of all workers; null if unknown."
    )


class Ticket(Schema):
    """A ticket that opens one stream of events."""

    ticket: str = Field(description="Pass as `?ticket=` when opening one WebSocket or EventSource. Valid once.")
    expires_at: datetime = Field(description="When the ticket expires, UTC.")


class VideoTicket(Schema):
    """A ticket that plays one uploaded video."""

    ticket: str = Field(description="Pass as `?ticket=` to `links.video` of the session, as often as needed.")
    expires_at: datetime = Field(description="When the ticket expires, UTC.")
