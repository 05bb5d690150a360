"""An OpenID Connect provider: its addresses and public keys, sign-in with a code and PKCE, and its access tokens."""

import asyncio
import base64
import hashlib
import hmac
import json
import math
import secrets
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from service.identity.claims import (
    Claims,
    TokenRejectedError,
    claims_of,
    key_id_of,
    verified_access_token,
    verified_id_token,
)

_log = structlog.get_logger(__name__)
TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 1024**2
FRESH_S = 3600.0
"""How long the provider's addresses and keys are used without being read again."""
KEPT_S = 24 * 3600.0
"""How long they are used while the provider does not answer."""
REREAD_AFTER_S = 60.0
"""How soon the provider is asked again: after it did not answer, and when a token names an unknown key, since nobody
may cause requests by sending such tokens.
"""


class ProviderUnavailableError(Exception):
    """The provider did not answer, or its answer violates OpenID Connect. The message is for the log."""


@dataclass(frozen=True)
class Attempt:
    """A sign-in that a browser has begun: what ties the provider's answer to this browser."""

    state: str
    nonce: str
    verifier: str = field(repr=False)

    @classmethod
    def begin(cls) -> "Attempt":
        """A new attempt, with 256 random bits each."""
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(32))

    def is_answered_by(self, state: str) -> bool:
        """Whether an answer of the provider belongs to this attempt."""
        return hmac.compare_digest(self.state.encode(), state.encode())


@dataclass(frozen=True)
class _Known:
    """What was read from the provider, and when by the monotonic clock."""

    metadata: Mapping[str, Any]
    keys: KeySet
    at_s: float


class IdentityProvider:
    """The provider `issuer`, for the client `client_id`. Without `client_secret` the client is a public one."""

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: str | None,
        *,
        groups_claim: str,
        authorities: Path,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuer = issuer
        self._client_id = client_id
        self._client_secret = client_secret
        self._groups_claim = groups_claim
        self._clock_s = clock_s
        self._known: _Known | None = None
        self._failed_s = -math.inf
        self._reading = asyncio.Lock()
        self._http = httpx.AsyncClient(
            timeout=TIMEOUT_S, verify=ssl.create_default_context(cafile=str(authorities)), follow_redirects=False
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def sign_in_url(self, attempt: Attempt, *, redirect_uri: str, scopes: str) -> str:
        """Where the browser is sent. Raises ProviderUnavailableError."""
        challenge = hashlib.sha256(attempt.verifier.encode()).digest()
        parameters = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "scope": scopes,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        return _with_query((await self._current()).metadata, "authorization_endpoint", parameters)

    async def sign_out_url(self, back_to: str) -> str | None:
        """The address at which a browser ends its session at the provider; None if the provider has no such page.

        Raises ProviderUnavailableError.
        """
        metadata = (await self._current()).metadata
        if "end_session_endpoint" not in metadata:
            return None
        parameters = {"client_id": self._client_id, "post_logout_redirect_uri": back_to}
        return _with_query(metadata, "end_session_endpoint", parameters)

    async def require_issuer(self, named: str | None) -> None:
        """Refuse an answer of another provider (RFC 9207). Raises TokenRejectedError, ProviderUnavailableError."""
        names_itself = (await self._current()).metadata.get("authorization_response_iss_parameter_supported") is True
        if named != self.issuer and (named is not None or names_itself):
            raise TokenRejectedError("the answer does not come from this provider")

    async def redeem(self, code: str, attempt: Attempt, *, redirect_uri: str) -> Claims:
        """Exchange the code of a sign-in for the claims about the person.

        Raises TokenRejectedError, ProviderUnavailableError.
        """
        metadata = (await self._current()).metadata
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": attempt.verifier,
        }
        tokens = await self._request_tokens(metadata, form)
        id_token = tokens.get("id_token")
        if not isinstance(id_token, str):
            raise TokenRejectedError("the provider sent no ID token")
        keys = await self._keys_for(id_token)
        claimed = verified_id_token(id_token, keys, issuer=self.issuer, client_id=self._client_id, nonce=attempt.nonce)
        if self._groups_claim not in claimed and "userinfo_endpoint" in metadata:
            claimed = {**await self._user_info(metadata, tokens, claimed["sub"]), **claimed}
        return claims_of(claimed, self._groups_claim)

    async def holder_of(self, access_token: str, *, audience: str) -> tuple[Claims, float]:
        """The person to whom an access token belongs, and the Unix time at which it expires.

        Raises TokenRejectedError, ProviderUnavailableError.
        """
        keys = await self._keys_for(access_token)
        claimed = verified_access_token(access_token, keys, issuer=self.issuer, audience=audience)
        return claims_of(claimed, self._groups_claim), float(claimed["exp"])

    async def _request_tokens(self, metadata: Mapping[str, Any], form: Mapping[str, str]) -> Mapping[str, Any]:
        url, headers, sent = _address(metadata, "token_endpoint"), {}, {"client_id": self._client_id, **form}
        if self._client_secret is not None:
            methods = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
            if "client_secret_basic" in methods:
                # RFC 6749, 2.3.1: both parts are form-encoded first.
                pair = f"{quote(self._client_id, safe='')}:{quote(self._client_secret, safe='')}"
                headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
                del sent["client_id"]
            else:
                sent["client_secret"] = self._client_secret
        request = self._http.build_request("POST", url, data=sent, headers=headers)
        return await self._answer(request, refused=(400, 401))

    async def _user_info(
        self, metadata: Mapping[str, Any], tokens: Mapping[str, Any], subject: str
    ) -> Mapping[str, Any]:
        headers = {"Authorization": f"Bearer {tokens.get('access_token')}"}
        request = self._http.build_request("GET", _address(metadata, "userinfo_endpoint"), headers=headers)
        claimed = await self._answer(request, refused=(401, 403))
        if claimed.get("sub") != subject:
            raise TokenRejectedError("the provider's user info is about someone else")
        return claimed

    async def _keys_for(self, token: str) -> KeySet:
        """The provider's keys, read again if the token's key is not among them."""
        key_id, known = key_id_of(token), await self._current()
        if key_id is None or key_id in {key.kid for key in known.keys}:
            return known.keys
        return (await self._current(max_age_s=REREAD_AFTER_S)).keys

    async def _current(self, *, max_age_s: float = FRESH_S) -> _Known:
        async with self._reading:
            now_s, known = self._clock_s(), self._known
            if known is not None and now_s - known.at_s < max_age_s:
                return known
            if now_s - self._failed_s < REREAD_AFTER_S:
                return self._kept(now_s, "it did not answer a moment ago")
            try:
                self._known = await self._read()
            except ProviderUnavailableError as error:
                self._failed_s = now_s
                return self._kept(now_s, str(error))
            return self._known

    def _kept(self, now_s: float, why: str) -> _Known:
        """What was read earlier, for use while the provider does not answer. Raises ProviderUnavailableError."""
        if self._known is None or now_s - self._known.at_s >= KEPT_S:
            raise ProviderUnavailableError(f"the identity provider {self.issuer} cannot be used: {why}")
        _log.warning("the identity provider does not answer, its known keys are used", issuer=self.issuer, why=why)
        return self._known

    async def _read(self) -> _Known:
        url = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        metadata = await self._answer(self._http.build_request("GET", url))
        if metadata.get("issuer") != self.issuer:
            raise ProviderUnavailableError(f"{url} describes another issuer: {metadata.get('issuer')!r}")
        published = await self._answer(self._http.build_request("GET", _address(metadata, "jwks_uri")))
        usable = [key for key in _listed(published) if key.get("kty") != "oct" and key.get("use", "sig") == "sig"]
        try:
            keys = KeySet.import_key_set({"keys": usable})
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise ProviderUnavailableError(f"the keys of the provider cannot be read ({error})") from error
        return _Known(metadata, keys, self._clock_s())

    async def _answer(self, request: httpx.Request, refused: tuple[int, ...] = ()) -> dict[str, Any]:
        """The JSON object that the provider answers with. A status in `refused` raises TokenRejectedError."""
        body = bytearray()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                response = await self._http.send(request, stream=True)
                try:
                    async for chunk in response.aiter_bytes():
                        body += chunk
                        if len(body) > MAX_ANSWER_BYTES:
                            raise ProviderUnavailableError(f"{request.url} answers with too much")
                finally:
                    await response.aclose()
        except (httpx.HTTPError, TimeoutError) as error:
            raise ProviderUnavailableError(f"{request.url} does not answer ({error or 'timed out'})") from error
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if response.status_code in refused:
            why = answer.get("error") if isinstance(answer, dict) else None
            raise TokenRejectedError(f"the provider refused it: {why or response.status_code}")
        if response.status_code != 200 or not isinstance(answer, dict):
            raise ProviderUnavailableError(f"{request.url} answers {response.status_code} or no JSON object")
        return answer


def _listed(published: Mapping[str, Any]) -> list[dict[str, Any]]:
    keys = published.get("keys")
    return [key for key in keys if isinstance(key, dict)] if isinstance(keys, list) else []


def _address(metadata: Mapping[str, Any], name: str) -> str:
    """Raises ProviderUnavailableError."""
    address = metadata.get(name)
    if not isinstance(address, str) or urlsplit(address).scheme not in ("https", "http"):
        raise ProviderUnavailableError(f"the provider has no {name}")
    # Secrets are sent there: an issuer with TLS must not lead to an address without it.
    if urlsplit(str(metadata["issuer"])).scheme == "https" and urlsplit(address).scheme != "https":
        raise ProviderUnavailableError(f"the provider's {name} has no TLS")
    return address


def _with_query(metadata: Mapping[str, Any], name: str, parameters: Mapping[str, str]) -> str:
    address = _address(metadata, name)
    return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(parameters)}"
