"""Signed tokens of an identity provider: the person that they identify, once signature and claims have been checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jwt import JWTClaimsRegistry

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519", "RS384", "PS384", "ES384", "RS512", "PS512", "ES512")
"""Those with a public key. A secret key would let whoever verifies tokens also make them; `none` is no signature."""
# Providers add headers of their own, which mean nothing here; critical ones are refused all the same.
_REGISTRY = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
LEEWAY_S = 60
"""How far the clocks of provider and server may be apart."""
MAX_TOKEN_CHARACTERS = 16_384
MAX_GROUPS = 1000
_NAMES = ("preferred_username", "email", "name", "client_id", "azp")


class TokenRejectedError(Exception):
    """This server does not accept a token. The message says why, for the log."""


@dataclass(frozen=True)
class Claims:
    """What a provider says about a person. `groups` is None if it says nothing about groups."""

    subject: str
    name: str
    groups: frozenset[str] | None


def key_id_of(token: str) -> str | None:
    """The id of the key that a token says it is signed with; None if it names none. Raises TokenRejectedError."""
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise TokenRejectedError("it is too long")
    try:
        key_id = jws.extract_compact(token.encode()).headers().get("kid")
    except (JoseError, ValueError) as error:
        raise TokenRejectedError(f"it is not a signed token ({error})") from error
    return key_id if isinstance(key_id, str) else None


def verified_id_token(token: str, keys: KeySet, *, issuer: str, client_id: str, nonce: str) -> dict[str, Any]:
    """The claims of an ID token for this client and this sign-in. Raises TokenRejectedError."""
    claims, _ = _verified(token, keys, issuer=issuer, audience=client_id, nonce=nonce)
    audience = claims["aud"]
    party = claims.get("azp")
    if party not in (None, client_id) or (party is None and isinstance(audience, list) and len(audience) > 1):
        raise TokenRejectedError("it was issued to another client")
    return claims


def verified_access_token(token: str, keys: KeySet, *, issuer: str, audience: str) -> dict[str, Any]:
    """The claims of an access token for this API. Raises TokenRejectedError."""
    claims, header = _verified(token, keys, issuer=issuer, audience=audience, nonce=None)
    # RFC 9068 has at+jwt; providers that are older than it have JWT, or nothing.
    if str(header.get("typ", "JWT")).lower().removeprefix("application/") not in ("at+jwt", "jwt"):
        raise TokenRejectedError("it is not an access token")
    return claims


def _verified(
    token: str, keys: KeySet, *, issuer: str, audience: str, nonce: str | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    essential = {"essential": True}
    expected: dict[str, Any] = {
        "iss": {**essential, "value": issuer},
        "aud": {**essential, "value": audience},
        "sub": essential,
        "exp": essential,
        "iat": essential,
    }
    if nonce is not None:
        expected["nonce"] = {**essential, "value": nonce}
    try:
        read = jwt.decode(token, keys, registry=_REGISTRY)
        JWTClaimsRegistry(leeway=LEEWAY_S, **expected).validate(read.claims)
    except (JoseError, ValueError, TypeError) as error:
        raise TokenRejectedError(str(error)) from error
    return read.claims, read.header


def claims_of(claimed: Mapping[str, Any], groups_claim: str) -> Claims:
    """The person that claims identify. Raises TokenRejectedError."""
    subject = claimed.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise TokenRejectedError("its `sub` is not a text of at most 255 characters")
    names = (claimed.get(claim) for claim in _NAMES)
    name = next((name for name in names if isinstance(name, str) and name), subject)
    return Claims(subject, name[:100], _groups(claimed.get(groups_claim)))


def _groups(claimed: object) -> frozenset[str] | None:
    if claimed is None:
        return None
    listed = claimed if isinstance(claimed, list) else [claimed]
    if len(listed) > MAX_GROUPS or not all(isinstance(group, str) for group in listed):
        raise TokenRejectedError(f"its groups are not at most {MAX_GROUPS} texts")
    return frozenset(listed)
