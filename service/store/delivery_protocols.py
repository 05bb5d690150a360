"""The part of a store's interface that delivers events to other systems: webhooks and subscriptions.

What `service.store.protocols` says of all methods holds here too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import SecretStr

from service.store.subscription_records import (
    DeliveryProgress,
    ProgressChange,
    StoredSubscription,
    SubscriptionRecord,
    SubscriptionState,
)
from service.store.webhook_records import Webhook, WebhookBacklog, WebhookProgress


class Outbox(Protocol):
    """Webhooks and how far their delivery has come. Unknown sessions are ignored here: they were deleted."""

    async def due(
        self,
        *,
        now_unix_s: float,
        limit: int,
        skip_sessions: Sequence[str] = (),
        skip_owners: Sequence[str] = (),
        skip_receivers: Sequence[str] = (),
    ) -> Sequence[Webhook]:
        """Webhooks with undelivered events whose next attempt is due, the longest due first.

        Left out are `skip_sessions`, the sessions of the API keys in `skip_owners`, and those that post to
        `skip_receivers`, as `receiver_of` names them.
        """

    async def note_delivered(
        self, session_id: str, event_id: str, *, after: str | None, now_unix_s: float, last: bool
    ) -> bool:
        """The receiver has accepted the event that follows `after`; `last`: the session publishes no more.

        Returns False, and notes nothing, if delivery was set back or disabled, or the session was deleted, in the
        meantime.
        """

    async def note_failed(
        self, session_id: str, event_id: str, *, reason: str, now_unix_s: float, retry_unix_s: float | None
    ) -> None:
        """The event was not accepted: try again at `retry_unix_s`, or never; never if delivery was disabled."""

    async def backlog(self, *, now_unix_s: float) -> WebhookBacklog:
        """What is still to be delivered to receivers that are not disabled, over all sessions."""

    async def progress(self, session_id: str) -> WebhookProgress | None:
        """Progress of delivery; None without a webhook."""

    async def redeliver(self, session_id: str, *, after: str | None) -> None:
        """Deliver the events after that one again, from now on, even to a disabled receiver."""

    async def disable_all_of(self, owner: str) -> None:
        """Deliver nothing more of the sessions of an API key."""

    async def rotate_secret(self, session_id: str, secret: SecretStr, *, old_until_unix_s: float) -> None:
        """Sign with `secret`, until `old_until_unix_s` also with the old one. May be repeated with the same one."""


@dataclass(frozen=True)
class SubscriptionLimits:
    """How many subscriptions there may be."""

    max_of_key: int
    max_in_all: int


class Subscriptions(Protocol):
    """Subscriptions, and how far their delivery has come. With `key_id`, those of other keys are unknown.

    Unknown ids raise NotFoundError in `get`, and are ignored elsewhere: the subscription was deleted.
    """

    async def create(self, record: SubscriptionRecord, *, cursor: str, limits: SubscriptionLimits) -> None:
        """Add an active subscription to the events after `cursor`.

        Raises:
            SubscriptionLimitError: The key has `limits.max_of_key` of them, or there are `limits.max_in_all`.
        """

    async def all(self, *, key_id: str | None = None) -> list[StoredSubscription]:
        """In the order of their creation."""

    async def get(self, subscription_id: str, *, key_id: str | None = None) -> StoredSubscription:
        """One subscription."""

    async def delete(self, subscription_id: str) -> None:
        """Remove it with its secrets."""

    async def change(
        self, subscription_id: str, state: SubscriptionState, *, progress: DeliveryProgress | None = None
    ) -> None:
        """Replace the state, and the progress if one is given. Deliveries that are under way are no longer noted."""

    async def replace(self, record: SubscriptionRecord, *, revision: int) -> bool:
        """Deliver as the record says. Returns False, and does nothing, if it was changed since `revision`."""

    async def disable_all_of(self, key_id: str) -> None:
        """Deliver nothing more to the subscriptions of an API key."""

    async def drive(self) -> dict[str, int]:
        """The revision of each active subscription, by id, if this process is the one that delivers; else nothing.

        A process that does not call this and `save_progress` for some seconds is replaced by another.
        """

    async def save_progress(self, changes: Sequence[ProgressChange]) -> set[str]:
        """Note progress of several subscriptions.

        Returns the ids of those that were not noted: they were changed or deleted, or another process delivers.
        """
