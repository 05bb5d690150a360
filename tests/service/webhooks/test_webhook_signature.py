"""Webhooks are signed as Standard Webhooks says, and tried again later and later."""

import base64
import hashlib
import hmac
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from service.store.webhook_records import Webhook
from service.webhooks.retry import FIRST_RETRY_S, GIVE_UP_AFTER_S, LONGEST_RETRY_S, retry_after_s, retry_at
from service.webhooks.signature import SECRET_PATTERN, SECRET_PREFIX, new_webhook_secret, secret_key, signed_headers


def test_the_signature_is_that_of_the_standards_own_example() -> None:
    headers = signed_headers(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
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
    secret = new_webhook_secret()
    headers = signed_headers([secret], "a_1-0", sent_unix_s, body)
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    expected = hmac.digest(key, f"a_1-0.{sent_unix_s}.".encode() + body, hashlib.sha256)
    assert base64.b64decode(headers["webhook-signature"].removeprefix("v1,")) == expected


@given(st.binary(max_size=80))
def test_the_pattern_describes_a_valid_secret(key: bytes) -> None:
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


def after_failures(
    attempts: int, since_unix_s: float | None, now_unix_s: float, *, jitter: float, wait_s: float = 0.0
) -> float | None:
    return retry_at(
        now_unix_s, failing_since_unix_s=since_unix_s, failed_attempts=attempts, jitter=jitter, wait_s=wait_s
    )


@given(attempts=st.integers(0, 10_000), jitter=st.floats(0, 1), since_s=st.floats(0, GIVE_UP_AFTER_S - 1))
def test_a_retry_comes_after_some_seconds_and_within_an_hour(attempts: int, jitter: float, since_s: float) -> None:
    at_unix_s = after_failures(attempts, 1e9 - since_s, 1e9, jitter=jitter)
    assert at_unix_s is not None
    assert FIRST_RETRY_S / 2 <= at_unix_s - 1e9 <= LONGEST_RETRY_S


@given(jitter=st.floats(0, 1))
def test_the_delay_between_retries_grows(jitter: float) -> None:
    waits_s = [after_failures(attempts, None, 0.0, jitter=jitter) for attempts in range(12)]
    assert waits_s == sorted(waits_s, key=lambda wait_s: wait_s or 0.0)


def test_after_a_day_of_failures_it_is_given_up() -> None:
    assert after_failures(30, 0.0, GIVE_UP_AFTER_S, jitter=0.5) is None


@pytest.mark.parametrize(
    ("header", "expected_s"),
    [
        (b"120", 120.0),
        (b" 7 ", 7.0),
        (b"Thu, 01 Jan 1970 00:18:20 GMT", 100.0),
        (b"Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        (b"", 0.0),
        (b"soon", 0.0),
        (b"-5", 0.0),
        (b"\xb2", 0.0),
        (b"9" * 400, 999_999_999.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: bytes, expected_s: float) -> None:
    assert retry_after_s([(b"Retry-After", header)], 1000.0) == expected_s
    assert retry_after_s([(b"content-length", b"9")], 1000.0) == 0.0


def test_a_delay_that_the_receiver_asks_for_is_respected_up_to_a_day() -> None:
    assert after_failures(0, None, 1e9, wait_s=7200.0, jitter=0.0) == 1e9 + 7200.0
    assert after_failures(0, None, 1e9, wait_s=1.0, jitter=1.0) == 1e9 + FIRST_RETRY_S
    assert after_failures(0, 1e9, 1e9, wait_s=1e12, jitter=0.0) == 1e9 + GIVE_UP_AFTER_S


def test_secrets_do_not_show() -> None:
    secret = SecretStr(new_webhook_secret())
    webhook = Webhook("id", SecretStr("https://example.org/"), secret, None, 0, None)
    assert webhook.secret.get_secret_value() not in repr(webhook)
    assert webhook.url.get_secret_value() not in repr(webhook)
