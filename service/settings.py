"""The only reader of the environment: variables with the prefix `CAKE_`."""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, IPvAnyNetwork, field_serializer, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from model.config import Precision
from service.access.keys import Limits
from service.authorities import PUBLIC_AUTHORITIES, read_authorities
from service.confinement.address_policy import AddressPolicy, read_nameservers


class Settings(BaseSettings):
    """What an operator may set. Sizes in bytes, times in seconds, rates in Hz."""

    model_config = SettingsConfigDict(env_prefix="CAKE_", env_ignore_empty=True, extra="ignore", frozen=True)

    data_dir: Path = Field(default=Path("data"), description="Folder of the database, uploads and snapshots.")
    store_url: str | None = Field(default=None, description="sqlite:///PATH; by default cake.db in the data folder.")
    blob_url: str | None = Field(
        default=None,
        description="s3://BUCKET/PREFIX for uploads and snapshots, which several machines share; endpoint and"
        " credentials as AWS_ variables. By default the data folder.",
    )
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    log_json: bool | None = Field(default=None, description="JSON log lines; by default when stderr is not a terminal.")
    log_level: str = "INFO"

    traces: bool = Field(
        default=False,
        description="Send OpenTelemetry traces where the OTEL_EXPORTER_OTLP_ variables say; needs the extra `otel`.",
    )

    auth: Literal["auto", "required", "off"] = Field(
        default="auto",
        description="`auto`: API keys are required once there is one, and without any only loopback addresses are"
        " served; `required`: always; `off`: never, for a network that you trust or behind a proxy that asks.",
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Origins of pages, as https://example.org, separated by commas, that may open WebSockets beside"
        " those of this server's own host.",
    )
    key_max_sessions: int = Field(default=16, ge=0, description="For new keys: sessions that have not ended.")
    key_requests_per_s: float = Field(default=50.0, gt=0, description="For new keys: requests to one server process.")
    key_max_stored_bytes: int = Field(default=20 * 1024**3, ge=0, description="For new keys: all uploads together.")

    workers: int = Field(default=1, ge=0, le=64, description="Worker processes that `cake serve` starts.")
    worker_id: str | None = Field(default=None, description="Set by the supervisor for its children.")
    worker_host: str = Field(
        default="127.0.0.1", description="Where a worker takes pushed streams from servers, and listens for operators."
    )
    worker_address: str | None = Field(
        default=None, description="Under which servers of other machines reach the worker; by default its host."
    )
    worker_push_port: int = Field(default=0, ge=0, le=65535, description="For pushed streams; 0 takes a free one.")
    worker_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="For /livez, /readyz and /metrics of `cake worker`.",
    )
    worker_threads: int = Field(default=1, ge=1, description="Threads of the detector in each worker.")
    precision: Precision = Field(
        default="auto",
        description="`auto`: detectors compute in bfloat16 on a processor that has it, which changes scores a little;"
        " `float32`: the same scores on every machine.",
    )
    worker_capacity_steps_per_s: float | None = Field(
        default=None, gt=0, description="Instead of measuring at start-up."
    )
    worker_max_sessions: int = Field(default=16, ge=1, description="Sessions, each with a decoder process, per worker.")
    models: list[str] = Field(default_factory=list, description="Names or paths to load; by default all that ship.")
    default_model: str = "mocap"

    max_upload_bytes: int = Field(default=2 * 1024**3, gt=0)
    queue_beyond_capacity: bool = Field(
        default=False,
        description="Let sessions wait that the workers cannot take now, where more workers can come.",
    )
    max_queued_sessions: int = Field(default=64, ge=0, description="Sessions that wait for a worker.")
    fast_session_steps_per_s: float = Field(
        default=2.0,
        gt=0,
        description="Capacity set aside for each session of pace `fast`; it uses what is free beyond that.",
    )
    source_timeout_s: float = Field(
        default=10.0, gt=0, description="Deadline to open a source and to get its next frame."
    )
    max_duration_s: float = Field(
        default=24 * 3600.0, gt=0, description="A source that is not live and longer than this fails its session."
    )
    push_wait_s: float = Field(
        default=60.0, gt=0, description="How long a session waits for a client to push its video, at first and again."
    )
    source_allow: Annotated[tuple[IPvAnyNetwork, ...], NoDecode] = Field(
        default=(), description="Networks, separated by commas, that sources may be in though they are not public."
    )
    source_ca: Path | None = Field(
        default=None,
        description="PEM file of certificates to trust beside the public authorities: your own authority, or a camera's"
        " own certificate. Read when a worker starts.",
    )
    decoder_max_bytes: int = Field(default=2 * 1024**3, ge=512 * 1024**2, description="Address space of each decoder.")
    decoder_max_cpu_s: int = Field(
        default=6 * 3600, gt=0, description="Processor time of a decoder; it then starts again where it was."
    )
    keep_ended_s: float | None = Field(
        default=None,
        gt=0,
        description="Delete sessions that ended so long ago, with all that belongs to them; by default never."
        " Less than a day cuts webhooks short that are still tried.",
    )
    deliver_webhooks: bool = Field(default=True, description="Whether this server posts events to webhooks.")
    snapshot_hz: float = Field(default=2.0, ge=0, le=5, description="Snapshots a second while somebody looks.")
    scores_keep_s: float = Field(default=3600.0, gt=0, description="Media time of scores kept for each session.")

    @field_validator("source_allow", "allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [one.strip() for one in value.split(",") if one.strip()] if isinstance(value, str) else value

    @field_validator("source_ca")
    @classmethod
    def _holds_certificates(cls, path: Path | None) -> Path | None:
        if path is not None:
            read_authorities(path)
        return path

    @field_serializer("source_allow", "allowed_origins")
    def _join(self, values: tuple[object, ...]) -> str:
        return ",".join(map(str, values))

    @property
    def key_limits(self) -> Limits:
        """Of keys that are made without limits of their own."""
        return Limits(
            max_sessions=self.key_max_sessions,
            requests_per_s=self.key_requests_per_s,
            max_stored_bytes=self.key_max_stored_bytes,
        )

    @property
    def address_policy(self) -> AddressPolicy:
        """Which addresses sources may have, with this machine's name servers as they are now."""
        return AddressPolicy(self.source_allow, read_nameservers())

    @property
    def authorities(self) -> Path:
        """PEM file of those who may vouch for a source's certificate; with `source_ca`, workers write it."""
        return self.data_dir / "authorities.pem" if self.source_ca else PUBLIC_AUTHORITIES

    @property
    def resolved_store_url(self) -> str:
        return self.store_url or f"sqlite://{self.data_dir.resolve() / 'cake.db'}"

    @property
    def uploads_dir(self) -> Path:
        """Holds one file per uploaded video, named by the session's id; of a bucket, those that are in use here."""
        return self.data_dir / "uploads"

    @property
    def metrics_dir(self) -> Path:
        """prometheus_client multiprocess files of the worker children."""
        return self.data_dir / "metrics"

    def environ(self) -> dict[str, str]:
        """These settings as environment variables, for a child process."""
        dumped = self.model_dump(mode="json", exclude_none=True)
        return {
            f"CAKE_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
            for name, value in dumped.items()
        }
