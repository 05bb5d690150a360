"""What the deliverer needs of the store, and when it tries again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

FIRST_RETRY_S, LONGEST_RETRY_S = 5.0, 3600.0
GIVE_UP_AFTER_S = 24 * 3600.0


@dataclass(frozen=True)
class Webhook:
    """Where one session's events go, and which were delivered."""

    session_id: str
    url: str = field(repr=False)
    secret: str = field(repr=False)
    delivered: str | None
    """Id of the last event that the receiver has taken."""
    attempts: int
    """That failed since."""
    failing_since_unix_s: float | None


class Outbox(Protocol):
    async def due_webhooks(self, *, now_unix_s: float, limit: int) -> Sequence[Webhook]:
        """Those that have events to deliver and may be tried now; the longest due first."""

    async def note_delivered(self, session_id: str, event_id: str, *, last: bool) -> None:
        """The receiver has taken the event; `last`: the session has no more. A deleted session is passed over."""

    async def note_failed(self, session_id: str, *, now_unix_s: float, retry_unix_s: float | None) -> None:
        """Try again at `retry_unix_s`, or never. A deleted session is passed over."""


def retry_at(webhook: Webhook, now_unix_s: float, jitter: float) -> float | None:
    """When to try again after one more failure: later and later; None to give up. `jitter` is random, 0 to 1."""
    since_s = now_unix_s if webhook.failing_since_unix_s is None else webhook.failing_since_unix_s
    if now_unix_s - since_s >= GIVE_UP_AFTER_S:
        return None
    longest_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(webhook.attempts, 16))
    return now_unix_s + longest_s * (0.5 + 0.5 * jitter)
