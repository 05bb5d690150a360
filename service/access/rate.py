"""Rate limits: one token bucket per key. Pure; time is an argument."""

from dataclasses import dataclass

BURST_S = 2.0
"""A key that was idle may send as many requests in a burst as its rate allows in this time."""


NOTE_EVERY_S = 60.0


@dataclass(frozen=True)
class Bucket:
    """Tokens at `at_s`, the time of a monotonic clock."""

    tokens: float
    at_s: float


def capacity(rate_hz: float) -> float:
    """Tokens in a full bucket, at least one."""
    return max(1.0, rate_hz * BURST_S)


def take(bucket: Bucket | None, rate_hz: float, now_s: float) -> tuple[Bucket, float]:
    """Take a token from a bucket; None stands for a full one.

    Returns:
        The bucket afterwards, and the seconds to wait: 0.0 when a token was taken.
    """
    if bucket is None:
        bucket = Bucket(capacity(rate_hz), now_s)
    gained = max(0.0, now_s - bucket.at_s) * rate_hz
    tokens = min(capacity(rate_hz), bucket.tokens + gained)
    now_s = max(now_s, bucket.at_s)
    if tokens < 1.0:
        return Bucket(tokens, now_s), (1.0 - tokens) / rate_hz
    return Bucket(tokens - 1.0, now_s), 0.0


@dataclass(frozen=True)
class Allowance:
    """What is left of a rate limit after a request."""

    limit: int
    """Size of a burst after a pause, in requests."""
    remaining: int
    """Size of a burst at present, in requests."""
    full_in_s: float
    """Seconds until `remaining` is `limit` again."""
    wait_s: float
    """Seconds until the key may send another request; 0.0 permits this one."""


class KeyUses:
    """When the last use of each key was recorded. Once a minute is enough for operators."""

    def __init__(self) -> None:
        self._noted_s: dict[str, float] = {}

    def is_due(self, key_id: str, now_s: float) -> bool:
        """Whether to record a use now; then it is not due again for NOTE_EVERY_S."""
        if now_s - self._noted_s.get(key_id, -NOTE_EVERY_S) < NOTE_EVERY_S:
            return False
        self._noted_s[key_id] = now_s
        return True


class RateLimiter:
    """The buckets of all keys in this process; there is one per key."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}

    def take(self, key_id: str, rate_hz: float, now_s: float) -> Allowance:
        """Count a request of the key."""
        self._buckets[key_id], wait_s = take(self._buckets.get(key_id), rate_hz, now_s)
        tokens = self._buckets[key_id].tokens
        full_in_s = (capacity(rate_hz) - tokens) / rate_hz
        return Allowance(int(capacity(rate_hz)), int(tokens), full_in_s, wait_s)
