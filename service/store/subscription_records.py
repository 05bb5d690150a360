"""Subscriptions as stored: which events go where, and how far their delivery has come."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, SecretStr

from service.access.sight import MetadataLimit, Sight
from service.event_filter import EventFilter
from service.event_schemas import EventType
from service.schemas import CameraIdentity, WebhookFormat
from service.sources.stored import StoredModel, StoredSecret

SubscriptionState = Literal["active", "paused", "disabled"]
TargetKind = Literal["webhook", "mqtt", "redis", "apprise"]
TARGET_KINDS: tuple[TargetKind, ...] = get_args(TargetKind)
MAX_SUBSCRIPTIONS = 1000
"""Of all API keys together."""
MAX_KEPT_ATTEMPTS = 20
"""The attempts that are kept of one subscription: the newest ones."""


class StoredFilter(StoredModel):
    """The conditions of `service.event_filter.EventFilter`."""

    # A condition of a newer version must not be ignored: more events than the caller wants would be delivered.
    model_config = StoredModel.model_config | {"extra": "forbid"}

    label: tuple[str, ...] = ()
    type: tuple[EventType, ...] = ()
    session: tuple[str, ...] = ()
    name: tuple[str, ...] = ()
    region: tuple[str, ...] = ()
    metadata: Mapping[str, tuple[str, ...]] = Field(default={})
    min_score: float | None = None

    def event_filter(self) -> EventFilter:
        """The predicate."""
        return EventFilter(
            labels=frozenset(self.label),
            types=frozenset(self.type),
            sessions=frozenset(self.session),
            names=frozenset(self.name),
            regions=frozenset(self.region),
            metadata={key: frozenset(values) for key, values in self.metadata.items()},
            min_score=self.min_score,
        )


class StoredWebhookTarget(StoredModel):
    """An address that events are posted to."""

    kind: Literal["webhook"] = "webhook"
    url: StoredSecret
    secret: StoredSecret
    format: WebhookFormat = "standard"
    old_secret: StoredSecret | None = None
    """The secret before the last rotation."""
    old_secret_until: datetime | None = None
    """Until then deliveries are signed with the old secret as well."""

    def secrets(self, now: datetime) -> list[str]:
        """Those that sign deliveries."""
        current = [self.secret.get_secret_value()]
        if self.old_secret is None or self.old_secret_until is None or now >= self.old_secret_until:
            return current
        return [*current, self.old_secret.get_secret_value()]

    def with_secret(self, secret: SecretStr, *, old_until: datetime) -> Self:
        """The target with a new secret. Repeated with the same secret, it leaves the one before in place."""
        old = self.old_secret if secret == self.secret else self.secret
        return self.model_copy(update={"secret": secret, "old_secret": old, "old_secret_until": old_until})


class StoredMqttTarget(StoredModel):
    """A broker, and where events are published."""

    kind: Literal["mqtt"] = "mqtt"
    url: StoredSecret
    """With user and password."""
    topic: str
    """First levels of all topics."""
    identify: CameraIdentity = "session"
    discovery_prefix: str | None = None
    """First levels of the topics of Home Assistant's discovery; None: no discovery."""


class StoredRedisTarget(StoredModel):
    """A stream in a Redis, to which events are added."""

    kind: Literal["redis"] = "redis"
    url: StoredSecret
    """With user and password."""
    stream: str
    max_entries: int
    """Approximate limit of its entries."""


class StoredAppriseTarget(StoredModel):
    """A service for people."""

    kind: Literal["apprise"] = "apprise"
    url: StoredSecret
    """An Apprise URL: all of it but the scheme may be secret."""
    attach: bool = True
    """Whether a still goes with a start, and the clip with `event.media`."""


StoredTarget = Annotated[
    StoredWebhookTarget | StoredMqttTarget | StoredRedisTarget | StoredAppriseTarget, Field(discriminator="kind")
]


class SubscriptionRecord(StoredModel):
    """A subscription as it was created."""

    id: str
    name: str | None = None
    key_id: str | None = None
    """The API key that created it; None when authentication was off."""
    owner: str | None = None
    """Only events of this key's sessions; None for all sessions."""
    metadata: MetadataLimit | None = None
    """Instead: only events of sessions with such metadata. Versions that do not know it keep to `owner`."""
    created_at: datetime
    filter: StoredFilter = StoredFilter()
    cooldown_s: float = 0.0
    target: StoredTarget

    @property
    def sight(self) -> Sight:
        """The sessions whose events it may deliver."""
        return Sight(owner=self.owner) if self.metadata is None else Sight.of_metadata(self.metadata)


class SubscriptionAttempt(StoredModel):
    """One attempt to deliver. `event_id` is None if no connection was possible; `failure` is None if it succeeded."""

    event_id: str | None
    session_id: str | None
    at: datetime
    failure: str | None


class LastAction(StoredModel):
    """The last action of one label, session and region that a cooldown has let through."""

    start_s: float
    is_open: bool
    """Whether its end is still to come."""


class DeliveryProgress(StoredModel):
    """How far delivery has come. Written as a whole after each delivery or failure."""

    cursor: str
    """In the common log: every event up to there was delivered, or is not wanted."""
    delivered: int = 0
    """Events that the target has accepted."""
    failed_attempts: int = 0
    """Since the last event that the target has accepted."""
    failing_since: datetime | None = None
    next_attempt_at: datetime | None = None
    """None unless the last attempt failed and another will follow."""
    attempts: tuple[SubscriptionAttempt, ...] = ()
    """Newest first."""
    actions: dict[str, LastAction] = Field(default={})
    """What is remembered of actions, see `service.subscriptions.selection`."""


@dataclass(frozen=True)
class ProgressChange:
    """How far one revision of an active subscription has come, or that its delivery ends as `disabled`."""

    subscription_id: str
    revision: int
    progress: DeliveryProgress
    state: SubscriptionState = "active"


@dataclass(frozen=True)
class StoredSubscription:
    """A subscription and its delivery. `revision` grows with every change other than progress."""

    record: SubscriptionRecord
    state: SubscriptionState
    revision: int
    progress: DeliveryProgress
