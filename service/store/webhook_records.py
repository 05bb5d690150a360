"""What the store keeps of webhooks: where events are posted, how far delivery has come, and the newest attempts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import SecretStr

from service.sources.stored import StoredModel, StoredSecret


class StoredWebhook(StoredModel):
    """Where a session's events are posted, and the secret that signs them."""

    url: StoredSecret
    secret: StoredSecret


_HOST_AND_PORT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#\\]*@)?([^/?#\\@]*)")


def receiver_of(url: str) -> str:
    """Host and port of a URL, in lower case; empty for a malformed one. `lua/webhooks.lua` has the same rule."""
    found = _HOST_AND_PORT.match(url)
    return "" if found is None else found[1].lower()


@dataclass(frozen=True)
class Webhook:
    """A session's webhook and how far its delivery has come."""

    session_id: str
    url: SecretStr
    secret: SecretStr
    delivered: str | None
    """Id of the last event that the receiver has accepted."""
    attempts: int
    """Failed attempts since then."""
    failing_since_unix_s: float | None
    owner: str | None = None
    """Id of the API key that submitted the session."""
    old_secret: SecretStr | None = None
    """The secret before the last rotation."""
    old_secret_until_unix_s: float = 0.0
    """Until then deliveries are signed with the old secret as well."""

    @property
    def receiver(self) -> str:
        """The receiver, as `receiver_of` names it."""
        return receiver_of(self.url.get_secret_value())


@dataclass(frozen=True)
class DeliveryAttempt:
    """One attempt to deliver an event. `failure` is what went wrong, None if the receiver accepted it."""

    event_id: str
    at_unix_s: float
    failure: str | None


MAX_DELIVERY_ATTEMPTS = 50
"""The attempts that a store keeps of one webhook: the newest ones."""


@dataclass(frozen=True)
class WebhookBacklog:
    """Webhooks with undelivered events, each of which has one delivery pending, and the oldest of these events."""

    pending: int
    oldest_s: float
    """Age of that event in seconds; 0 when nothing is pending."""


@dataclass(frozen=True)
class WebhookProgress:
    """Progress of the delivery of a session's events."""

    webhook: Webhook
    state: Literal["active", "retrying", "disabled", "finished"]
    """`disabled`: the receiver failed for a day or answered 410, or the API key of the session was revoked. `finished`:
    the session's last event was accepted."""
    next_attempt_unix_s: float | None
    """None unless it is being retried."""
    attempts: tuple[DeliveryAttempt, ...]
    """Newest first."""


def webhook_progress(
    webhook: Webhook, *, next_attempt_unix_s: float | None, attempts: Sequence[DeliveryAttempt], is_complete: bool
) -> WebhookProgress:
    """Derive the state.

    `next_attempt_unix_s` is None when no more attempts will be made; `is_complete`: all events were accepted.
    """
    is_failing = webhook.failing_since_unix_s is not None
    if next_attempt_unix_s is None:
        return WebhookProgress(webhook, "finished" if is_complete else "disabled", None, tuple(attempts))
    if is_failing:
        return WebhookProgress(webhook, "retrying", next_attempt_unix_s, tuple(attempts))
    return WebhookProgress(webhook, "active", None, tuple(attempts))
