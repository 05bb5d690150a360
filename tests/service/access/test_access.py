"""Keys and the token bucket: pure, without a store and without a clock."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.access.keys import Limits, new_key, parse_key
from service.access.rate import Bucket, RateLimiter, capacity, take
from service.access.scopes import Scope

LIMITS = Limits(max_sessions=2, requests_per_s=10, max_stored_bytes=100)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RATES_HZ = st.floats(0.01, 1000)
PAUSES_S = st.lists(st.floats(0, 5), max_size=60)


def test_a_key_opens_its_record_and_no_other() -> None:
    (shown, record), (other_shown, other) = (new_key(name, [], LIMITS, created_at=NOW) for name in ("a", "b"))
    credential, other_credential = parse_key(shown), parse_key(other_shown)
    assert credential is not None
    assert other_credential is not None
    assert credential.opens(record, NOW)
    assert not credential.opens(other, NOW)
    mixed = parse_key(f"cake_{record.id}_{other_credential.secret}")
    assert mixed is not None
    assert not mixed.opens(record, NOW)
    assert not credential.opens(record.model_copy(update={"revoked_at": NOW}), NOW)
    assert not credential.opens(record.model_copy(update={"expires_at": NOW}), NOW)


def test_the_record_does_not_hold_the_secret_and_no_repr_shows_it() -> None:
    shown, record = new_key("a", [Scope.ADMIN], LIMITS, created_at=NOW)
    secret = shown.split("_", 2)[2]
    assert len(secret) == 43
    assert secret not in record.model_dump_json()
    assert secret not in repr(parse_key(shown))


@pytest.mark.parametrize("text", ["", "x", "cake_1_2", "cake_0123456789abcdef_", "Bearer cake_", "cake_" + "é" * 60])
def test_text_that_is_not_a_key_has_no_credential(text: str) -> None:
    assert parse_key(text) is None


@given(text=st.text(max_size=80))
def test_any_text_can_be_parsed(text: str) -> None:
    assert parse_key(text) is None


@given(rate_hz=RATES_HZ, pauses_s=PAUSES_S)
def test_requests_never_exceed_the_burst_and_the_rate(rate_hz: float, pauses_s: list[float]) -> None:
    bucket: Bucket | None = None
    now_s, served_s = 100.0, list[float]()
    for pause_s in pauses_s:
        now_s += pause_s
        bucket, wait_s = take(bucket, rate_hz, now_s)
        assert 0 <= bucket.tokens <= capacity(rate_hz)
        if wait_s == 0:
            served_s.append(now_s)
    for first, begin_s in enumerate(served_s):
        for count, end_s in enumerate(served_s[first:], start=1):
            assert count <= capacity(rate_hz) + (end_s - begin_s) * rate_hz + 1e-6


@given(rate_hz=RATES_HZ, pauses_s=PAUSES_S)
def test_a_request_after_the_stated_wait_is_permitted(rate_hz: float, pauses_s: list[float]) -> None:
    bucket: Bucket | None = None
    now_s = 0.0
    for pause_s in pauses_s:
        now_s += pause_s
        bucket, wait_s = take(bucket, rate_hz, now_s)
        if wait_s > 0:
            assert take(bucket, rate_hz, now_s + wait_s * 1.001 + 1e-9)[1] == 0


@given(rate_hz=RATES_HZ, backwards_s=st.floats(0, 1e6))
def test_a_clock_that_goes_back_adds_no_tokens(rate_hz: float, backwards_s: float) -> None:
    bucket, _ = take(Bucket(0.0, 1e6), rate_hz, 1e6 - backwards_s)
    assert bucket == Bucket(0.0, 1e6)


def test_keys_do_not_share_their_buckets() -> None:
    limiter = RateLimiter()
    waits_s = [limiter.take("a", 1, now_s=5.0).wait_s for _ in range(3)]
    assert waits_s == [0.0, 0.0, 1.0]
    assert limiter.take("b", 1, now_s=5.0).wait_s == 0.0
    assert limiter.take("a", 1, now_s=6.0).wait_s == 0.0
