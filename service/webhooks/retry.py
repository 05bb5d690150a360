"""When delivery is tried again after a failure."""

from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

FIRST_RETRY_S, LONGEST_RETRY_S = 5.0, 3600.0
GIVE_UP_AFTER_S = 24 * 3600.0
"""A receiver that fails for this long is disabled."""


@dataclass(frozen=True)
class Backoff:
    """The longest waits for the first attempts and all later ones, and after which time to give up."""

    first_s: float = FIRST_RETRY_S
    longest_s: float = LONGEST_RETRY_S
    give_up_after_s: float = GIVE_UP_AFTER_S


WEBHOOK_BACKOFF = Backoff()


def retry_at(
    now_unix_s: float,
    *,
    failing_since_unix_s: float | None,
    failed_attempts: int,
    jitter: float,
    wait_s: float = 0.0,
    backoff: Backoff = WEBHOOK_BACKOFF,
) -> float | None:
    """Return when to try again after one more failure, with exponential backoff, or None to give up.

    Args:
        failing_since_unix_s: when the first of the `failed_attempts` before this one ended.
        wait_s: the delay that the receiver requested; limited so that the attempt comes before the webhook is given up.
        jitter: random, 0 to 1.
    """
    since_s = now_unix_s if failing_since_unix_s is None else failing_since_unix_s
    left_s = since_s + backoff.give_up_after_s - now_unix_s
    if left_s <= 0:
        return None
    longest_s = min(backoff.longest_s, backoff.first_s * 2.0 ** min(failed_attempts, 16))
    return now_unix_s + max(longest_s * (0.5 + 0.5 * jitter), min(wait_s, left_s))


def retry_after_s(headers: Sequence[tuple[bytes, bytes]], now_unix_s: float) -> float:
    """Return the delay of a `Retry-After` header in seconds (RFC 9110, 10.2.3); 0 without a valid one."""
    text = next((value.decode("latin-1").strip() for name, value in headers if name.lower() == b"retry-after"), "")
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_unix_s)
    except (ValueError, OverflowError):
        return 0.0
