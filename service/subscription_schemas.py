"""The HTTP API's data types of subscriptions: what clients send, and what they get."""

import re
from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import parse_qsl

from pydantic import AfterValidator, AnyUrl, Field, SecretStr, StringConstraints, UrlConstraints

from service.event_schemas import Cursor, EventId, EventType
from service.request_secrets import WebhookSecret
from service.request_urls import WebhookUrl, with_possible_host, with_possible_port
from service.requests import Name
from service.schemas import BodySchema, CameraIdentity, MetadataKey, Schema, WebhookFormat

MAX_VALUES, MAX_VALUE_LENGTH = 100, 200
MAX_COOLDOWN_S = 24 * 3600.0


def _with_database_alone(url: AnyUrl) -> AnyUrl:
    """Raises ValueError."""
    if not re.fullmatch("/?[0-9]{0,4}", url.path or "") or url.query is not None or url.fragment is not None:
        raise ValueError("may end with the number of a database, as in redis://HOST/0, and with nothing else")
    return url


MqttUrl = Annotated[
    AnyUrl,
    UrlConstraints(max_length=2048, allowed_schemes=["mqtt", "mqtts"], host_required=True),
    AfterValidator(with_possible_host),
    AfterValidator(with_possible_port),
]
RedisUrl = Annotated[
    AnyUrl,
    UrlConstraints(max_length=2048, allowed_schemes=["redis", "rediss"], host_required=True),
    AfterValidator(with_possible_host),
    AfterValidator(with_possible_port),
    AfterValidator(_with_database_alone),
]
TopicPrefix = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$", max_length=200)]
Values = Annotated[list[Annotated[str, StringConstraints(max_length=MAX_VALUE_LENGTH)]], Field(max_length=MAX_VALUES)]


APPRISE_SCHEMES = (
    *("bark", "barks", "discord", "form", "forms", "gchat", "gotify", "gotifys", "hassio", "hassios", "json", "jsons"),
    *("line", "mailto", "mailtos", "matrix", "matrixs", "mmost", "mmosts", "nctalk", "nctalks", "ntfy", "ntfys"),
    *("opsgenie", "pagerduty", "pbul", "pover", "psafer", "rocket", "rockets", "signal", "signals", "slack", "tgram"),
    *("twilio", "webex", "workflows", "wxteams", "zulip"),
)
"""Services that only send HTTP requests or mail; others act on the server's machine, or need more libraries."""
REFUSED_OPTIONS = frozenset(
    {"cto", "optional", "pgp", "pgpprv", "pgppub", "redirect", "retry", "rto", "template", "verify", "wait", "wkd"}
)
"""Certificates are always checked, failures count and are repeated by the lane, and no file of the server is read."""


def _of_a_service(url: SecretStr) -> SecretStr:
    """Reject an address that is not sent to. The error never quotes the address."""
    scheme, separator, rest = url.get_secret_value().partition("://")
    if not separator or scheme.lower() not in APPRISE_SCHEMES:
        raise ValueError(f"must be a URL with one of the schemes {', '.join(APPRISE_SCHEMES)}")
    asked = {name.lower() for name, _ in parse_qsl(rest.partition("?")[2], keep_blank_values=True)}
    refused = sorted(asked & REFUSED_OPTIONS)
    if refused:
        raise ValueError(f"has options that this server does not permit: {', '.join(refused)}")
    return url


class SubscriptionFilter(Schema):
    """Which events are delivered, as the parameters of `GET /v1/events`. Of several values, one must match."""

    label: Values = Field(default=[], description="Only events of these actions.", examples=[["kick"]])
    type: list[EventType] = Field(default=[], max_length=MAX_VALUES, description="Only events of these types.")
    session: Values = Field(default=[], description="Only events of these sessions.")
    name: Values = Field(default=[], description="Only events of sessions with these names.", examples=[["gate"]])
    region: Values = Field(default=[], description="Only events of these regions.")
    metadata: dict[MetadataKey, Values] = Field(
        default={},
        max_length=20,
        description="Only events of sessions whose metadata has one of the values, for each key.",
        examples=[{"site": ["north"]}],
    )
    min_score: float | None = Field(
        default=None, ge=0, le=1, description="Only starts and ends with at least this score."
    )


class WebhookTargetRequest(Schema):
    """An address that events are posted to, signed as Standard Webhooks defines it."""

    kind: Literal["webhook"] = Field(description="The kind of the target.")
    url: WebhookUrl = Field(description="The address.", examples=["https://example.org/hook"])
    format: WebhookFormat = Field(
        default="standard",
        description="`standard`: the body is the event. `cloudevents`: the body is a CloudEvent 1.0 that contains the"
        " event (structured). `cloudevents-binary`: the body is the event, headers hold the other attributes.",
    )
    secret: WebhookSecret | None = Field(
        default=None,
        description="Secret that signs the deliveries: `whsec_` and 24 to 64 bytes in base64. Generated if absent.",
    )


class HomeAssistantOptions(Schema):
    """How sessions are announced to Home Assistant."""

    discovery_prefix: TopicPrefix = Field(
        default="homeassistant", description="The discovery prefix of Home Assistant's MQTT integration."
    )


class MqttTargetRequest(Schema):
    """An MQTT 5 broker, and where events are published."""

    kind: Literal["mqtt"] = Field(description="The kind of the target.")
    url: MqttUrl = Field(
        description="The broker: `mqtt://` or, with TLS, `mqtts://`, with user and password if it requires them.",
        examples=["mqtts://cake:secret@broker.example.org"],
    )
    topic: TopicPrefix = Field(
        default="cake", description="First levels of all topics; different for each subscription to one broker."
    )
    identify: CameraIdentity = Field(
        default="session",
        description="How topics name sessions: by their id, or by their name, so that a camera that is submitted"
        " again keeps its topics. With `name`, sessions that run at the same time need different names.",
    )
    home_assistant: HomeAssistantOptions | None = Field(
        default=None, description="Announce each session to Home Assistant as a device; `{}` uses the defaults."
    )


class RedisTargetRequest(Schema):
    """A stream in a Redis, to which each event is added as an entry."""

    kind: Literal["redis"] = Field(description="The kind of the target.")
    url: RedisUrl = Field(
        description="The Redis: `redis://` or, with TLS, `rediss://`, with user and password if it requires them, and "
        "the number of the database as path.",
        examples=["rediss://cake:secret@redis.example.org/0"],
    )
    stream: str = Field(default="cake:events", min_length=1, max_length=200, description="Key of the stream.")
    max_entries: int = Field(
        default=100_000, ge=1, le=2**31, description="About how many entries the stream keeps: older ones are removed."
    )


class AppriseTargetRequest(Schema):
    """A service for people, by its address in the notation of Apprise."""

    kind: Literal["apprise"] = Field(description="The kind of the target.")
    url: Annotated[SecretStr, AfterValidator(_of_a_service)] = Field(
        min_length=1,
        max_length=2048,
        description=f"The address, with its tokens and passwords. Schemes: {', '.join(APPRISE_SCHEMES)}.",
        examples=["tgram://BOT_TOKEN/CHAT_ID"],
    )
    attach: bool = Field(
        default=True,
        description="Whether a still goes with a start, and the clip with `event.media`, if the service takes files.",
    )


TargetRequest = Annotated[
    WebhookTargetRequest | MqttTargetRequest | RedisTargetRequest | AppriseTargetRequest, Field(discriminator="kind")
]


class SubscriptionRequest(BodySchema):
    """A new subscription."""

    name: Name | None = Field(default=None, description="Display name; need not be unique.", examples=["alarm"])
    filter: SubscriptionFilter = Field(default=SubscriptionFilter(), description="Which events; all by default.")
    cooldown_s: float = Field(
        default=0.0,
        ge=0,
        le=MAX_COOLDOWN_S,
        description="After a delivered action, those of the same label, session and region that begin within this many"
        " seconds of media time are skipped, with their ends. Other events are not affected.",
        examples=[30],
    )
    target: TargetRequest = Field(description="Where the events go.")
    after: Cursor | None = Field(
        default=None, description="Start with the events after this cursor of `GET /v1/events`. Default: new ones only."
    )


class SubscriptionResume(BodySchema):
    """How to resume a subscription."""

    skip_missed: bool = Field(
        default=False, description="Skip the events since it was paused or disabled; otherwise they are delivered."
    )


class WebhookTargetInfo(Schema):
    """An address that events are posted to."""

    kind: Literal["webhook"] = Field(default="webhook", description="The kind of the target.")
    url: str = Field(description="The address; without user, password and query.")
    format: WebhookFormat = Field(description="Format of the deliveries.")
    secret: str | None = Field(
        description="Secret that signs the deliveries. Returned once, when it is new; else null."
    )


class MqttTargetInfo(Schema):
    """An MQTT 5 broker, and where events are published."""

    kind: Literal["mqtt"] = Field(default="mqtt", description="The kind of the target.")
    url: str = Field(description="The broker, without user and password.")
    topic: str = Field(description="First levels of all topics.")
    identify: CameraIdentity = Field(description="What sessions are called in topics.")
    home_assistant: HomeAssistantOptions | None = Field(
        description="How sessions are announced to Home Assistant; null if they are not."
    )


class RedisTargetInfo(Schema):
    """A stream in a Redis, to which each event is added as an entry."""

    kind: Literal["redis"] = Field(default="redis", description="The kind of the target.")
    url: str = Field(description="The Redis, without user and password.")
    stream: str = Field(description="Key of the stream.")
    max_entries: int = Field(description="About how many entries the stream keeps.")


class AppriseTargetInfo(Schema):
    """A service for people."""

    kind: Literal["apprise"] = Field(default="apprise", description="The kind of the target.")
    url: str = Field(description="The scheme of the address; the rest is secret.", examples=["tgram://…"])
    attach: bool = Field(description="Whether stills and clips go with the messages.")


TargetInfo = Annotated[
    WebhookTargetInfo | MqttTargetInfo | RedisTargetInfo | AppriseTargetInfo, Field(discriminator="kind")
]


class DeliveryAttemptInfo(Schema):
    """One attempt to deliver."""

    session_id: str | None = Field(description="Session of the event; null if no connection was possible.")
    event_id: EventId | None = Field(description="The event; null if no connection was possible.")
    time: datetime = Field(description="When the attempt ended, UTC.")
    delivered: bool = Field(description="Whether the target accepted the event.")
    failure: str | None = Field(description="What went wrong; null if the event was accepted.", examples=["503"])


class SubscriptionInfo(Schema):
    """A subscription and the progress of its delivery."""

    id: str = Field(description="Id of the subscription.")
    name: str | None = Field(description="Name that the client gave.")
    created_at: datetime = Field(description="When it was created, UTC.")
    all_sessions: bool = Field(
        description="Whether it covers the sessions of all API keys, or only those of its own key."
    )
    filter: SubscriptionFilter = Field(description="Which events are delivered.")
    cooldown_s: float = Field(description="Minimum time between actions of a label, session and region, in seconds.")
    target: TargetInfo = Field(description="Where the events go.")
    state: Literal["active", "retrying", "paused", "disabled"] = Field(
        description="`retrying`: the last attempt failed and will be repeated. `disabled`: the target failed for 7"
        " days or refused further events, or the API key was revoked; resume it to try again."
    )
    cursor: Cursor = Field(description="Every event up to this cursor of `GET /v1/events` was delivered or skipped.")
    delivered: int = Field(description="Events that the target has accepted.")
    failed_attempts: int = Field(description="Failed attempts since the last event that was accepted.")
    failing_since: datetime | None = Field(description="When the first of them ended, UTC.")
    next_attempt_at: datetime | None = Field(description="When the next attempt is due, UTC; only while `retrying`.")
    last_error: str | None = Field(description="What went wrong last; null if no attempt of the newest 20 failed.")
    attempts: list[DeliveryAttemptInfo] = Field(description="The newest 20 attempts, newest first.")


class SubscriptionList(Schema):
    """The subscriptions that the caller may see."""

    subscriptions: list[SubscriptionInfo] = Field(description="In the order of their creation.")


class SubscriptionTestResult(Schema):
    """The result of a test message."""

    delivered: bool = Field(description="Whether the target accepted the test message.")
    failure: str | None = Field(description="What went wrong; null if it was accepted.", examples=["ConnectError"])
    duration_s: float = Field(description="How long the attempt took, in seconds.")
