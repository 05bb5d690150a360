"""Webhooks are signed as Standard Webhooks says, and tried again later and later."""

import base64
import hashlib
import hmac
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.webhooks.outbox import FIRST_RETRY_S, GIVE_UP_AFTER_S, LONGEST_RETRY_S, Webhook, retry_at
from service.webhooks.signature import SECRET_PATTERN, SECRET_PREFIX, new_secret, secret_key, signed_headers


def test_the_signature_is_that_of_the_standards_own_example() -> None:
    headers = signed_headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(body=st.binary(max_size=200), sent_unix_s=st.integers(0, 2**33))
def test_a_receiver_that_knows_the_secret_can_check_it(body: bytes, sent_unix_s: int) -> None:
    secret = new_secret()
    headers = signed_headers(secret, "a_1-0", sent_unix_s, body)
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    expected = hmac.digest(key, f"a_1-0.{sent_unix_s}.".encode() + body, hashlib.sha256)
    assert base64.b64decode(headers["webhook-signature"].removeprefix("v1,")) == expected


@given(st.binary(max_size=80))
def test_the_pattern_tells_callers_what_a_secret_is(key: bytes) -> None:
    secret = SECRET_PREFIX + base64.b64encode(key).decode()
    if re.search(SECRET_PATTERN, secret):
        assert secret_key(secret) == key
    else:
        with pytest.raises(ValueError, match="24 to 64 bytes"):
            secret_key(secret)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_!", base64.b64encode(b"x" * 32).decode()])
def test_a_secret_of_another_form_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        secret_key(secret)


def failing(attempts: int, since_unix_s: float | None) -> Webhook:
    return Webhook("id", "https://example.org/", new_secret(), None, attempts, since_unix_s)


@given(attempts=st.integers(0, 10_000), jitter=st.floats(0, 1), since_s=st.floats(0, GIVE_UP_AFTER_S - 1))
def test_a_retry_comes_after_some_seconds_and_within_an_hour(attempts: int, jitter: float, since_s: float) -> None:
    at_unix_s = retry_at(failing(attempts, 1e9 - since_s), 1e9, jitter)
    assert at_unix_s is not None
    assert FIRST_RETRY_S / 2 <= at_unix_s - 1e9 <= LONGEST_RETRY_S


@given(jitter=st.floats(0, 1))
def test_retries_come_later_and_later(jitter: float) -> None:
    waits_s = [retry_at(failing(attempts, None), 0.0, jitter) for attempts in range(12)]
    assert waits_s == sorted(waits_s, key=lambda wait_s: wait_s or 0.0)


def test_after_a_day_of_failures_it_is_given_up() -> None:
    assert retry_at(failing(30, 0.0), GIVE_UP_AFTER_S, 0.5) is None


def test_secrets_do_not_show() -> None:
    webhook = failing(0, None)
    assert webhook.secret not in repr(webhook)
    assert webhook.url not in repr(webhook)
