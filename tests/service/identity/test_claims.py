"""Which tokens are accepted: signature, algorithm, issuer, audience, times, nonce and party."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from service.identity.claims import (
    TokenRejectedError,
    claims_of,
    key_id_of,
    verified_access_token,
    verified_id_token,
)

ISSUER, CLIENT, NONCE, API = "https://login.example.org", "cake", "n" * 43, "cake-api"
KEY = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
OTHER = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
KEYS = KeySet([KEY])
GOOD: dict[str, Any] = {"iss": ISSUER, "aud": CLIENT, "sub": "42", "exp": 300, "iat": 0, "nonce": NONCE}


def token(changes: dict[str, Any], header: dict[str, Any] | None = None, key: RSAKey = KEY) -> str:
    """A signed token; a change to None leaves the claim out. Times are in seconds from now."""
    now = int(time.time())
    claims = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    claims |= {name: now + claims[name] for name in ("exp", "iat", "nbf") if isinstance(claims.get(name), int)}
    return jwt.encode({"alg": "RS256", "kid": "one", **(header or {})}, claims, key, algorithms=["RS256", "PS256"])


def accepted(text: str) -> dict[str, Any]:
    return verified_id_token(text, KEYS, issuer=ISSUER, client_id=CLIENT, nonce=NONCE)


def test_a_token_for_this_client_and_sign_in_is_accepted() -> None:
    assert accepted(token({}))["sub"] == "42"
    assert accepted(token({"aud": [CLIENT, "other"], "azp": CLIENT}, {"alg": "PS256"}))["sub"] == "42"
    assert accepted(token({"exp": -30, "iat": 30}))["sub"] == "42"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://login.example.org.evil.example"},
        {"iss": None},
        {"aud": "other"},
        {"aud": []},
        {"aud": None},
        {"aud": [CLIENT, "other"]},
        {"azp": "other"},
        {"exp": -120},
        {"exp": None},
        {"exp": "never"},
        {"iat": 120},
        {"iat": None},
        {"nbf": 120},
        {"nonce": "m" * 43},
        {"nonce": None},
        {"sub": None},
        {"sub": 42},
    ],
)
def test_a_token_with_a_wrong_or_missing_claim_is_rejected(changes: dict[str, Any]) -> None:
    with pytest.raises(TokenRejectedError):
        accepted(token(changes))


def assembled(algorithm: str, sign: Callable[[bytes], bytes] = lambda _: b"") -> str:
    """A token as no library makes it."""
    parts = (json.dumps({"alg": algorithm, "kid": "one"}).encode(), json.dumps(GOOD).encode())
    signed = b".".join(map(in_base64, parts))
    return b".".join((signed, in_base64(sign(signed)))).decode()


def in_base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def with_the_public_key_as_secret(signed: bytes) -> bytes:
    """A token that a verifier would accept if it took the algorithm from the token."""
    return hmac.digest(KEY.as_pem(private=False), signed, "sha256")


def test_a_token_without_the_providers_signature_is_rejected() -> None:
    as_secret = assembled("HS256", with_the_public_key_as_secret)
    for forged in (token({}, key=OTHER), assembled("none"), assembled("RS256"), as_secret, "a.b", ""):
        with pytest.raises(TokenRejectedError):
            accepted(forged)


def test_an_access_token_is_for_the_api_and_no_other_kind_of_token() -> None:
    def verified(text: str) -> dict[str, Any]:
        return verified_access_token(text, KEYS, issuer=ISSUER, audience=API)

    for kind in ("at+jwt", "application/at+jwt", "JWT"):
        assert verified(token({"aud": API, "nonce": None}, {"typ": kind}))["sub"] == "42"
    for text in (token({}), token({"aud": API}, {"typ": "logout+jwt"}), token({"aud": API, "exp": -120})):
        with pytest.raises(TokenRejectedError):
            verified(text)


def test_claims_of_providers_are_read_with_bounds() -> None:
    said = claims_of({"sub": "42", "preferred_username": "", "email": "a" * 200, "groups": ["a", "b"]}, "groups")
    assert (said.subject, said.name, said.groups) == ("42", "a" * 100, frozenset("ab"))
    assert claims_of({"sub": "42", "roles": "a"}, "roles").groups == frozenset("a")
    assert claims_of({"sub": "42"}, "groups").groups is None
    for wrong in ({"sub": ""}, {"sub": "a" * 256}, {"sub": "42", "groups": [1]}, {"sub": "42", "groups": ["a"] * 1001}):
        with pytest.raises(TokenRejectedError):
            claims_of(wrong, "groups")


def test_the_key_of_a_token_is_found_without_trusting_it() -> None:
    assert key_id_of(token({}, key=OTHER)) == "one"
    for text in ("", "a.b.c", "a" * 20_000):
        with pytest.raises(TokenRejectedError):
            key_id_of(text)
