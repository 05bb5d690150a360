"""Subscriptions: the options of a new one, the types of responses, and the requests."""

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from cake_client.calls import Call
from cake_client.models import Model


@dataclass(frozen=True)
class WebhookTarget:
    """An address that events are posted to. Fields that are None take the server's default."""

    url: str
    format: str | None = None
    """`standard`, `cloudevents` or `cloudevents-binary`."""
    secret: str | None = None
    """`whsec_` and 24 to 64 bytes in base64; the server generates one otherwise."""

    def to_json(self) -> dict[str, Any]:
        """The `target` of `POST /v1/subscriptions`."""
        return _given({"kind": "webhook", "url": self.url, "format": self.format, "secret": self.secret})


@dataclass(frozen=True)
class MqttTarget:
    """An MQTT 5 broker: `mqtt://` or `mqtts://`. Fields that are None take the server's default."""

    url: str
    topic: str | None = None
    """First levels of all topics."""
    identify: str | None = None
    """`session` or `name`: how topics identify sessions."""
    home_assistant: bool = False
    """Announce the sessions to Home Assistant."""

    def to_json(self) -> dict[str, Any]:
        """The `target` of `POST /v1/subscriptions`."""
        home_assistant: dict[str, Any] | None = {} if self.home_assistant else None
        return _given(
            {
                "kind": "mqtt",
                "url": self.url,
                "topic": self.topic,
                "identify": self.identify,
                "home_assistant": home_assistant,
            }
        )


@dataclass(frozen=True)
class RedisTarget:
    """A stream in a Redis: `redis://` or `rediss://`. Fields that are None take the server's default."""

    url: str
    stream: str | None = None
    """Key of the stream."""
    max_entries: int | None = None
    """About how many entries it keeps."""

    def to_json(self) -> dict[str, Any]:
        """The `target` of `POST /v1/subscriptions`."""
        return _given({"kind": "redis", "url": self.url, "stream": self.stream, "max_entries": self.max_entries})


@dataclass(frozen=True)
class AppriseTarget:
    """A service for people, such as `tgram://` or `mailtos://`: an address in Apprise's format."""

    url: str = field(repr=False)
    attach: bool = True
    """Whether messages include stills and clips."""

    def to_json(self) -> dict[str, Any]:
        return {"kind": "apprise", "url": self.url, "attach": self.attach}


NewTarget = WebhookTarget | MqttTarget | RedisTarget | AppriseTarget


@dataclass(frozen=True)
class SubscriptionOptions:
    """Which events are delivered: each filter accepts any of its values; without values it accepts all. `more` is sent
    as it is.
    """

    name: str | None = None
    """Of the subscription."""
    labels: Sequence[str] = ()
    types: Sequence[str] = ()
    sessions: Sequence[str] = ()
    session_names: Sequence[str] = ()
    regions: Sequence[str] = ()
    metadata: Mapping[str, Sequence[str]] = field(default_factory=dict)
    min_score: float | None = None
    cooldown_s: float | None = None
    """Minimum media time between two actions of the same label, session and region."""
    after: str | None = None
    """Start after this cursor; by default with new events."""
    more: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The rest of its fields."""
        wanted = {
            "label": list(self.labels),
            "type": list(self.types),
            "session": list(self.sessions),
            "name": list(self.session_names),
            "region": list(self.regions),
            "metadata": {key: list(values) for key, values in self.metadata.items()},
            "min_score": self.min_score,
        }
        given = {"name": self.name, "filter": _given(wanted), "cooldown_s": self.cooldown_s, "after": self.after}
        return _given(given) | dict(self.more)


class Target(Model):
    """Where events go. `kind` is `webhook`, `mqtt`, `redis` or `apprise`."""

    kind: str
    url: str
    """Without user, password and query; only the scheme for a service for people."""
    secret: str | None = None
    """The secret of a webhook, present only when it is new."""


class Subscription(Model):
    """`state` is `active`, `retrying`, `paused` or `disabled`."""

    id: str
    state: str
    target: Target
    created_at: datetime
    cursor: str
    """Every event up to this cursor was delivered or filtered out."""
    name: str | None = None
    delivered: int = 0
    failed_attempts: int = 0
    """Since the last event that was accepted."""
    next_attempt_at: datetime | None = None
    last_error: str | None = None


class SubscriptionList(Model):
    """The answer to `listed`."""

    subscriptions: tuple[Subscription, ...]


class SubscriptionTest(Model):
    """The result of a test message. `failure` says what went wrong."""

    delivered: bool
    duration_s: float
    failure: str | None = None


def listed() -> Call:
    """All subscriptions of the key."""
    return Call("GET", "/v1/subscriptions")


def subscribe(target: NewTarget, options: SubscriptionOptions | None) -> Call:
    """Not repeatable: each request adds one."""
    body = (options or SubscriptionOptions()).to_json() | {"target": target.to_json()}
    return Call("POST", "/v1/subscriptions", json=body, is_repeatable=False)


def pause(subscription_id: str) -> Call:
    """Deliver nothing until it is resumed."""
    return Call("POST", _path(subscription_id, "/pause"))


def resume(subscription_id: str, skip_missed: bool) -> Call:
    """Continue with the first event that was missed, or with new ones."""
    return Call("POST", _path(subscription_id, "/resume"), json={"skip_missed": skip_missed})


def test(subscription_id: str) -> Call:
    """Not repeatable: each request sends a message."""
    return Call("POST", _path(subscription_id, "/test"), is_repeatable=False)


def rotate_secret(subscription_id: str, secret: str | None, keep_old_s: float | None) -> Call:
    """The client chooses the secret, so that repeating the request changes nothing."""
    chosen = secret or f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    body = _given({"secret": chosen, "keep_old_s": keep_old_s})
    return Call("POST", _path(subscription_id, "/rotate-secret"), json=body)


def delete(subscription_id: str) -> Call:
    """Not repeatable: the second request would not find it."""
    return Call("DELETE", _path(subscription_id), is_repeatable=False)


def _path(subscription_id: str, rest: str = "") -> str:
    return f"/v1/subscriptions/{quote(subscription_id, safe='')}{rest}"


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
