"""How often one may ask: a token bucket for each key. Pure, time is an argument."""

from dataclasses import dataclass

BURST_S = 2.0
"""Who has been quiet may ask as often at once as in this long."""


@dataclass(frozen=True)
class Bucket:
    """Tokens that there were at `at_s`, a moment of a clock that never goes back."""

    tokens: float
    at_s: float


def capacity(rate_hz: float) -> float:
    """Tokens in a full bucket: at least one request is always allowed."""
    return max(1.0, rate_hz * BURST_S)


def take(bucket: Bucket | None, rate_hz: float, now_s: float) -> tuple[Bucket, float]:
    """Take a token: the bucket as it is then, and 0.0; or seconds until there will be one. None is a full bucket."""
    if bucket is None:
        bucket = Bucket(capacity(rate_hz), now_s)
    gained = max(0.0, now_s - bucket.at_s) * rate_hz
    tokens = min(capacity(rate_hz), bucket.tokens + gained)
    now_s = max(now_s, bucket.at_s)
    if tokens < 1.0:
        return Bucket(tokens, now_s), (1.0 - tokens) / rate_hz
    return Bucket(tokens - 1.0, now_s), 0.0


class RateLimiter:
    """The buckets of all keys of this process; as many as there are keys."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}

    def wait_s(self, key_id: str, rate_hz: float, now_s: float) -> float:
        """0.0 when the request may be served, else how long to wait."""
        self._buckets[key_id], wait_s = take(self._buckets.get(key_id), rate_hz, now_s)
        return wait_s
