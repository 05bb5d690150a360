"""The only reader of the environment: variables with the prefix `CAKE_`."""

import json
import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, IPvAnyNetwork, PlainSerializer, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from model.config import Precision
from service.access.keys import Limits
from service.sources.address_policy import AddressPolicy, read_nameservers
from service.sources.authorities import PUBLIC_AUTHORITIES, read_authorities

PREFIX = "CAKE_"
ALL_CLIPS = "all"
"""Value of `clips` that means the clips of every action."""
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


def _split(value: object) -> object:
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


def _join(items: Iterable[object]) -> str:
    return ",".join(map(str, items))


_COMMA_SEPARATED = (NoDecode, BeforeValidator(_split), PlainSerializer(_join))
"""Metadata of every list setting: the variable holds the items separated by commas."""


_HEADER = r"^[A-Za-z0-9-]+$"
_LOOPBACK_URL = re.compile(r"http://(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?(/.*)?")
MAX_KEEP_S = 100 * 365 * 24 * 3600.0
"""Ages beyond it leave the range of dates."""


def _split_seconds(value: object) -> object:
    if not isinstance(value, str):
        return value
    pairs = [item.rpartition("=") for item in value.split(",") if item.strip()]
    if not all(name.strip() for name, _, _ in pairs):
        raise ValueError("must be names with seconds, separated by commas")
    return {name.strip(): seconds.strip() for name, _, seconds in pairs}


def _join_seconds(seconds: Mapping[str, float]) -> str:
    return ",".join(f"{name}={each}" for name, each in seconds.items())


class Settings(BaseSettings):
    """What an operator may set. Sizes in bytes, times in seconds, rates in Hz.

    `cake settings` prints the fields in this order; the first example of a field is quoted in error messages.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, allow_inf_nan=False
    )

    # Storage
    data_dir: Path = Field(
        default=Path("data"),
        examples=["/var/lib/cake"],
        description="Folder of the database, uploads and snapshots. A relative path starts at the working directory.",
    )
    store_url: str | None = Field(
        default=None,
        examples=["redis://redis:6379/0"],
        description="Where sessions, events and keys are stored: `sqlite:///PATH`, or a Redis URL, which several"
        " machines can share. The default is `cake.db` in the data folder.",
    )
    blob_url: str | None = Field(
        default=None,
        examples=["s3://cake/videos"],
        description="Bucket for uploads and snapshots, as `s3://BUCKET/PREFIX`; required when several machines share a"
        " store. Endpoint and credentials come from the AWS_ variables. The default is the data folder.",
    )
    keep_ended_s: float = Field(
        default=30 * 24 * 3600.0,
        ge=0,
        le=MAX_KEEP_S,
        examples=["604800"],
        description="Age at which ended sessions are deleted with everything that belongs to them; 0 keeps them."
        " Webhooks are retried for a day, but only until their session is deleted.",
    )
    min_free_bytes: int = Field(
        default=512 * 1024**2,
        ge=0,
        examples=["1073741824"],
        description="Uploads are refused while less disk space than this is free, so that the database can grow.",
    )
    delete_oldest_when_full: bool = Field(
        default=False,
        examples=["true"],
        description="Delete the ended sessions that ended first while less than CAKE_MIN_FREE_BYTES is free.",
    )
    scores_keep_s: float = Field(
        default=3600.0, gt=0, examples=["3600"], description="Media time for which each session keeps its scores."
    )

    # Server
    host: str = Field(default="127.0.0.1", examples=["0.0.0.0"], description="Address that `cake serve` listens on.")
    port: int = Field(
        default=8000, ge=0, le=65535, examples=["8000"], description="Port of `cake serve`; 0 picks a free port."
    )
    root_path: str = Field(
        default="",
        pattern=r"^(/[\w.~-]+)*$",
        examples=["/cake"],
        description="Path prefix under which a proxy serves this server. Links in responses start with it. The proxy"
        " may strip the prefix or pass it on.",
    )
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], *_COMMA_SEPARATED] = Field(
        default=(IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")),
        examples=["10.0.0.0/8"],
        description="Proxies whose headers X-Forwarded-For and X-Forwarded-Proto are trusted.",
    )
    keep_alive_s: float = Field(
        default=75.0,
        gt=0,
        examples=["75"],
        description="How long an idle HTTP connection is kept open. It must exceed the idle timeout of a load balancer"
        " in front, usually 60 s.",
    )
    max_upload_bytes: int = Field(
        default=2 * 1024**3, gt=0, examples=["2147483648"], description="Largest accepted upload."
    )
    max_model_bytes: int = Field(
        default=512 * 1024**2,
        gt=0,
        examples=["536870912"],
        description="Largest accepted model, in bytes of its files. Reading it takes several times as much memory.",
    )
    max_uploaded_models: int = Field(
        default=10,
        ge=0,
        examples=["10"],
        description="Versions of uploaded models that are kept, and loaded by every worker; 0 accepts none.",
    )
    max_streams: int = Field(
        default=500,
        ge=1,
        examples=["500"],
        description="Event streams, long polls and pushed streams that one API key may hold open on this server."
        " Without keys the limit applies to each client address.",
    )
    deliver_webhooks: bool = Field(
        default=True,
        examples=["true"],
        description="Whether this server delivers events to webhooks and subscriptions.",
    )
    max_subscriptions: int = Field(
        default=50,
        ge=0,
        le=1000,
        examples=["50"],
        description="Subscriptions that one API key may have. Without keys the limit applies to all together, which are"
        " at most 1000.",
    )

    # Logs, metrics and traces
    log_level: Annotated[
        LogLevel, BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value)
    ] = Field(default="INFO", examples=["INFO"], description="Lowest level that is logged.")
    log_json: bool | None = Field(
        default=None,
        examples=["true"],
        description="Whether log lines are JSON. The default is JSON unless stderr is a terminal.",
    )
    audit_log: Path | None = Field(
        default=None,
        examples=["/var/log/cake/audit.jsonl"],
        description="File that records who submitted, viewed, changed or deleted what, as JSON lines. The default is"
        " `audit.jsonl` in the data folder. It is rotated at 10 MiB, and 10 old files are kept.",
    )
    session_metrics: int = Field(
        default=0,
        ge=0,
        le=10_000,
        examples=["100"],
        description="Largest number of live sessions that `/metrics/sessions` shows, each with its id and name; 0 turns"
        " it off. Reading it requires the scope `metrics:sessions`.",
    )
    traces: bool = Field(
        default=False,
        examples=["true"],
        description="Send OpenTelemetry traces to the endpoint that the OTEL_EXPORTER_OTLP_ variables name. Requires"
        " the extra `otel`.",
    )

    # Authentication
    auth: Literal["auto", "required", "off"] = Field(
        default="auto",
        examples=["required"],
        description="`auto`: keys are required once a key exists; until then only loopback addresses are served."
        " `required`: always. `off`: never, for a trusted network or behind a proxy that authenticates.",
    )
    allowed_hosts: Annotated[tuple[str, ...], *_COMMA_SEPARATED] = Field(
        default=(),
        examples=["cake.example.org,cake.internal"],
        description="Host names under which this server answers, besides `localhost` and IP addresses. Without"
        " authentication it answers under no others; with it, the default is to answer under any name.",
    )
    allowed_origins: Annotated[tuple[str, ...], *_COMMA_SEPARATED] = Field(
        default=(),
        examples=["https://app.example.org,https://example.net"],
        description="Origins of other pages that may use the API (CORS) and open WebSockets. This server's own pages"
        " always may.",
    )
    key_max_sessions: int = Field(
        default=16,
        ge=0,
        examples=["16"],
        description="Default session limit of a new key; ended sessions do not count.",
    )
    key_requests_per_s: float = Field(
        default=50.0, gt=0, examples=["50"], description="Default rate limit of a new key, for each server process."
    )
    key_max_stored_bytes: int = Field(
        default=20 * 1024**3,
        ge=0,
        examples=["21474836480"],
        description="Default storage quota of a new key, over all its uploads.",
    )

    # People
    roles: Path | None = Field(
        default=None,
        examples=["/etc/cake/roles.json"],
        description="JSON file with the roles of people: which groups have which scopes and limits. Required with"
        " CAKE_IDENTITY_PROXIES and CAKE_OIDC_ISSUER.",
    )
    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/?#@\s]+(/[\w.~-]+)*$",
        examples=["https://example.org/cake"],
        description="Address under which browsers reach this server, with the path of CAKE_ROOT_PATH. Required with"
        " CAKE_OIDC_ISSUER.",
    )
    identity_proxies: Annotated[tuple[IPvAnyNetwork, ...], *_COMMA_SEPARATED] = Field(
        default=(),
        examples=["10.0.0.7/32"],
        description="Proxies that authenticate people and say who they are in the headers below. The headers of others"
        " are ignored. By default, none are trusted.",
    )
    identity_user_header: str = Field(
        default="X-Forwarded-User",
        pattern=_HEADER,
        examples=["Remote-User"],
        description="Header in which a proxy names the person.",
    )
    identity_groups_header: str = Field(
        default="X-Forwarded-Groups",
        pattern=_HEADER,
        examples=["Remote-Groups"],
        description="Header in which a proxy lists the person's groups, separated by commas.",
    )
    oidc_issuer: str | None = Field(
        default=None,
        pattern=r"^https?://[^?#@\s]+$",
        examples=["https://login.example.org/realms/site"],
        description="Identity provider (OpenID Connect) with which people sign in on the page. Requires the extra"
        " `oidc`.",
    )
    oidc_client_id: str | None = Field(
        default=None, examples=["cake"], description="Id of this server's client at the identity provider."
    )
    oidc_client_secret_file: Path | None = Field(
        default=None,
        examples=["/run/secrets/oidc"],
        description="File with the client's secret. The default is a public client, which PKCE protects.",
    )
    oidc_scopes: Annotated[tuple[str, ...], *_COMMA_SEPARATED] = Field(
        default=("openid", "profile", "email"),
        examples=["openid,profile,groups"],
        description="Scopes that are requested of the identity provider.",
    )
    oidc_groups_claim: str = Field(
        default="groups", examples=["roles"], description="Claim that lists a person's groups."
    )
    oidc_audience: str | None = Field(
        default=None,
        examples=["cake-api"],
        description="Audience of the provider's access tokens (JWT) that programs may send in place of an API key. By"
        " default none are accepted.",
    )
    sign_in_s: float = Field(
        default=8 * 3600.0,
        gt=0,
        le=30 * 24 * 3600.0,
        examples=["28800"],
        description="How long a person stays signed in. Changes of their groups at the provider take effect with the"
        " next sign-in.",
    )

    # Sources
    source_allow: Annotated[tuple[IPvAnyNetwork, ...], *_COMMA_SEPARATED] = Field(
        default=(),
        examples=["192.168.0.0/16,fd00::/8"],
        description="Private networks that sources, webhooks and subscriptions may use, besides public addresses.",
    )
    source_ca: Path | None = Field(
        default=None,
        examples=["/etc/cake/cameras.pem"],
        description="PEM file of certificates to trust in addition to the public authorities: a private authority, or"
        " the self-signed certificate of a camera. Workers read it when they start.",
    )
    source_timeout_s: float = Field(
        default=10.0,
        gt=0,
        examples=["10"],
        description="Time allowed for opening a source, and for each further frame to arrive.",
    )
    push_wait_s: float = Field(
        default=60.0,
        gt=0,
        examples=["60"],
        description="How long a push session waits for its client to start sending, or to resume sending.",
    )
    max_duration_s: float = Field(
        default=24 * 3600.0,
        gt=0,
        examples=["86400"],
        description="Longest video accepted. A longer one fails its session. Live sources have no limit.",
    )
    decoder_max_bytes: int = Field(
        default=2 * 1024**3, ge=512 * 1024**2, examples=["2147483648"], description="Address space of each decoder."
    )
    decoder_max_cpu_s: int = Field(
        default=6 * 3600,
        gt=0,
        examples=["21600"],
        description="Processor time of each decoder process. A decoder that reaches it is replaced and resumes.",
    )
    quiet: Literal["off", "auto"] = Field(
        default="off",
        examples=["auto"],
        description="`auto`: while nothing moves in front of a live camera, only its keyframes are decoded, where the"
        " sizes of its frames tell motion. `off`: every frame is decoded.",
    )
    snapshot_hz: float = Field(
        default=2.0, ge=0, le=5, examples=["2"], description="Snapshots per second while a session is watched."
    )

    # Clips
    clips: Annotated[tuple[str, ...], *_COMMA_SEPARATED] = Field(
        default=(),
        examples=["fall,fight", "all"],
        description="Actions of which clips are kept for cameras, URLs and pushed streams: labels, or `all`. By default"
        " none, since clips show people and take space. Clips of uploads take none and need no setting.",
    )
    clip_before_s: float = Field(
        default=5.0, ge=0, le=60, examples=["5"], description="How long before an action's start its clip begins."
    )
    clip_after_s: float = Field(
        default=10.0, gt=0, le=120, examples=["10"], description="How long after an action's start its clip ends."
    )
    clip_max_bytes: int = Field(
        default=16 * 1024**2,
        ge=64 * 1024,
        examples=["16777216"],
        description="Largest clip, and the most that a decoder keeps of its stream for clips.",
    )
    clips_keep_s: float = Field(
        default=7 * 24 * 3600.0,
        ge=0,
        le=MAX_KEEP_S,
        examples=["604800"],
        description="Age at which clips are deleted, if their session is not deleted earlier; 0 keeps them.",
    )
    clips_keep_of_s: Annotated[
        Mapping[str, Annotated[float, Field(ge=0, le=MAX_KEEP_S)]],
        NoDecode,
        BeforeValidator(_split_seconds),
        PlainSerializer(_join_seconds),
    ] = Field(
        default={},
        examples=["fall=2592000,fight=86400"],
        description="For single actions, the age at which their clips are deleted, in place of CAKE_CLIPS_KEEP_S.",
    )
    clips_max_bytes: int = Field(
        default=10 * 1024**3,
        ge=0,
        examples=["10737418240"],
        description="Size of all clips above which the oldest are deleted.",
    )

    # Models and workers
    models: Annotated[tuple[str, ...], *_COMMA_SEPARATED] = Field(
        default=(),
        examples=["people,/srv/models/kitchen"],
        description="Models to load: names of shipped models, or checkpoint folders. The default is all that ship.",
    )
    default_model: str | None = Field(
        default=None,
        examples=["people"],
        description="Model of sessions that do not name one. The default is the first of CAKE_MODELS, else `people`.",
    )
    precision: Precision = Field(
        default="auto",
        examples=["float32"],
        description="`auto`: bfloat16 on processors that support it, which changes scores slightly. `float32`: the same"
        " scores on every machine.",
    )
    workers: int = Field(
        default=1, ge=0, le=64, examples=["2"], description="Worker processes that `cake serve` starts, one core each."
    )
    worker_threads: int = Field(default=1, ge=1, examples=["1"], description="Detector threads in each worker.")
    worker_max_sessions: int = Field(
        default=16, ge=1, examples=["16"], description="Sessions per worker. Each has its own decoder process."
    )
    worker_capacity_steps_per_s: float | None = Field(
        default=None,
        gt=0,
        examples=["400"],
        description="Detector steps per second that a worker offers. The default is to measure it at start-up.",
    )
    fast_session_steps_per_s: float = Field(
        default=2.0,
        gt=0,
        examples=["2"],
        description="Capacity reserved for each session of pace `fast`. It also uses what is free beyond that.",
    )
    queue_beyond_capacity: bool = Field(
        default=False,
        examples=["true"],
        description="Queue sessions beyond the capacity instead of refusing them, for deployments that add workers.",
    )
    max_queued_sessions: int = Field(
        default=64, ge=0, examples=["64"], description="Largest number of sessions waiting for a worker."
    )
    worker_host: str = Field(
        default="127.0.0.1",
        examples=["0.0.0.0"],
        description="Address on which a worker accepts pushed streams from servers, sends them live video, and serves"
        " its health and metrics.",
    )
    worker_address: str | None = Field(
        default=None,
        examples=["worker-1.internal"],
        description="Address under which servers on other machines reach this worker. The default is its host.",
    )
    worker_push_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        examples=["8002"],
        description="Port for pushed streams and live video; 0 picks a free port.",
    )
    worker_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        examples=["8001"],
        description="Port of `/livez`, `/readyz` and `/metrics` of `cake worker`. The default is not to serve them.",
    )
    worker_id: str | None = Field(
        default=None, examples=["worker-1"], description="Name of a worker. `cake serve` sets it for its own workers."
    )

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#*@\sA-Z]+", origin):
                raise ValueError(
                    f"{origin!r} is not an origin: give scheme, host in lower case and port if it is not the default,"
                    " without a path. `*` is not supported, since every page on the web could then use this server"
                )
        return origins

    @field_validator("models")
    @classmethod
    def _are_names(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if any(name.startswith(("[", '"')) for name in models):
            raise ValueError("give names separated by commas, without brackets and quotes")
        return models

    @model_validator(mode="after")
    def _has_the_default_model(self) -> Self:
        names = [Path(model).name for model in self.models]
        if self.default_model is not None and names and self.default_model not in names:
            models = f"{variable('models')}={_join(self.models)}"
            raise ValueError(f"{variable('default_model')}={self.default_model} is not one of {models}")
        return self

    @field_validator("oidc_issuer", "public_url")
    @classmethod
    def _has_tls(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith("https://") and not _LOOPBACK_URL.fullmatch(url):
            raise ValueError(f"{url!r} must begin with https://, except on this machine: tokens and cookies are secret")
        return url

    @field_validator("roles")
    @classmethod
    def _lists_roles(cls, path: Path | None) -> Path | None:
        if path is not None:
            # Every command reads settings, and few servers have roles.
            from service.identity.roles import read_roles

            read_roles(path)
        return path

    @model_validator(mode="after")
    def _can_identify_people(self) -> Self:
        by = "identity_proxies" if self.identity_proxies else "oidc_issuer" if self.oidc_issuer else None
        if by is None:
            return self
        if self.auth == "off":
            raise ValueError(f"{variable(by)} has no effect with {variable('auth')}=off, which lets everyone in")
        needed = ("roles", "oidc_client_id", "public_url") if self.oidc_issuer else ("roles",)
        missing = [variable(name) for name in needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f"{variable(by)} also needs {' and '.join(missing)}")
        if self.public_url is not None and urlsplit(self.public_url).path != self.root_path:
            raise ValueError(f"the path of {variable('public_url')} must be that of {variable('root_path')}")
        if self.oidc_issuer and self.oidc_audience == self.oidc_client_id:
            raise ValueError(
                f"{variable('oidc_audience')} must differ from {variable('oidc_client_id')}: ID tokens have the latter"
                " as audience, and are not meant for APIs"
            )
        return self

    @property
    def identifies_people(self) -> bool:
        """Whether people are authenticated by a proxy or an identity provider."""
        return bool(self.identity_proxies or self.oidc_issuer)

    @field_validator("source_ca")
    @classmethod
    def _holds_certificates(cls, path: Path | None) -> Path | None:
        if path is not None:
            read_authorities(path)
        return path

    @property
    def key_limits(self) -> Limits:
        """Limits of a new key that is created without its own."""
        return Limits(
            max_sessions=self.key_max_sessions,
            requests_per_s=self.key_requests_per_s,
            max_stored_bytes=self.key_max_stored_bytes,
        )

    @property
    def address_policy(self) -> AddressPolicy:
        """Which addresses decoders may reach, with this machine's name servers as they are now."""
        return AddressPolicy(self.source_allow, read_nameservers())

    @property
    def source_policy(self) -> AddressPolicy:
        """Which addresses sources and receivers may have: name servers are none, and finding them takes time."""
        return AddressPolicy(self.source_allow)

    @property
    def authorities(self) -> Path:
        """PEM file of the trusted certificate authorities; with `source_ca`, servers and workers write it."""
        return self.data_dir / "authorities.pem" if self.source_ca else PUBLIC_AUTHORITIES

    @property
    def resolved_store_url(self) -> str:
        """Address of the store, with the default filled in."""
        return self.store_url or f"sqlite://{self.data_dir.resolve() / 'cake.db'}"

    @property
    def audit_path(self) -> Path:
        """The file of the audit log."""
        return self.audit_log or self.data_dir / "audit.jsonl"

    @property
    def metrics_dir(self) -> Path:
        """Files of the worker processes' metrics (prometheus_client's multiprocess mode)."""
        return self.data_dir / "metrics"

    def keeps_clips_of(self, label: str) -> bool:
        """Whether clips of this action are kept for sources that are not kept themselves."""
        return label in self.clips or ALL_CLIPS in self.clips

    def environ(self) -> dict[str, str]:
        """These settings as environment variables, for a child process."""
        dumped = self.model_dump(mode="json", exclude_none=True)
        return {
            variable(name): value if isinstance(value, str) else json.dumps(value) for name, value in dumped.items()
        }


def variable(name: str) -> str:
    """The environment variable of the field `name`."""
    return f"{PREFIX}{name.upper()}"
