"""Signatures of Standard Webhooks 1.0 (https://www.standardwebhooks.com): HMAC-SHA256 over id, time and body."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence

SECRET_PREFIX = "whsec_"
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
_BASE64 = "[A-Za-z0-9+/]"
SECRET_PATTERN = (
    rf"^whsec_(?:{_BASE64}{{4}}){{8,20}}(?:{_BASE64}{{4}}(?:{_BASE64}{{2}}==)?|{_BASE64}{{3}}=|{_BASE64}{{2}}==)?$"
)
"""The form of secrets that `secret_key` accepts, for validation in schemas."""


def new_webhook_secret() -> str:
    """A random secret of 32 bytes, as `whsec_` and base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def secret_key(secret: str) -> bytes:
    """The key of `whsec_` and base64. Raises ValueError for another form, or one of the wrong length."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"expected {SECRET_PREFIX} and base64") from None
    if not secret.startswith(SECRET_PREFIX) or not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise ValueError(f"expected {SECRET_PREFIX} and {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes in base64")
    return key


def signed_headers(secrets: Sequence[str], message_id: str, sent_unix_s: int, body: bytes) -> dict[str, str]:
    """Return the three headers with which a receiver verifies that the message is authentic, complete and new. There is
    one signature for each secret, and a receiver accepts the message if one of them matches the secret that it knows.
    """
    signed = b".".join((message_id.encode(), str(sent_unix_s).encode(), body))
    digests = [hmac.new(secret_key(secret), signed, hashlib.sha256).digest() for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(sent_unix_s),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests),
    }
