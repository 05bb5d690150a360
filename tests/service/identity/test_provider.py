"""How often a provider is asked for its keys, and which of its responses are accepted."""

import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import pytest_asyncio
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from service.identity.claims import TokenRejectedError
from service.identity.provider import IdentityProvider, ProviderUnavailableError
from service.sources.authorities import PUBLIC_AUTHORITIES

FIRST, SECOND = (RSAKey.generate_key(2048, {"kid": kid, "use": "sig"}) for kid in ("first", "second"))
SECRET = OctKey.generate_key(256, {"kid": "secret", "use": "sig"})


@dataclass
class Published:
    """A provider's responses by path, and the requested paths."""

    issuer: str = ""
    answers: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def publish(self, *keys: RSAKey | OctKey, **metadata: Any) -> None:
        described = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys", **metadata}
        self.answers = {
            "/.well-known/openid-configuration": json.dumps(described).encode(),
            "/keys": json.dumps({"keys": [key.as_dict(private=isinstance(key, OctKey)) for key in keys]}).encode(),
        }

    def token(self, key: RSAKey | OctKey, algorithm: str = "RS256") -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": "api", "sub": "42", "iat": now, "exp": now + 600, "groups": ["a"]}
        return jwt.encode({"alg": algorithm, "kid": key.kid}, claims, key)


@contextmanager
def answering(published: Published) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            published.asked.append(self.path)
            answer = published.answers.get(self.path)
            self.send_response(404 if answer is None else 200)
            self.send_header("Content-Length", str(len(answer or b"")))
            self.end_headers()
            self.wfile.write(answer or b"")

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as the base class names it
            """Tests are quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        published.issuer = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


@pytest.fixture
def published() -> Iterator[Published]:
    published = Published()
    with answering(published):
        yield published


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def provider(published: Published, clock: Clock) -> AsyncIterator[IdentityProvider]:
    provider = IdentityProvider(
        published.issuer, "cake", None, groups_claim="groups", authorities=PUBLIC_AUTHORITIES, clock_s=clock
    )
    yield provider
    await provider.close()


async def test_keys_are_read_once_an_hour_and_for_a_new_key_once_a_minute(
    provider: IdentityProvider, published: Published, clock: Clock
) -> None:
    published.publish(FIRST)
    for _ in range(3):
        claims, _ = await provider.holder_of(published.token(FIRST), audience="api")
        assert (claims.subject, claims.groups) == ("42", frozenset("a"))
    assert len(published.asked) == 2
    for _ in range(3):
        with pytest.raises(TokenRejectedError):
            await provider.holder_of(published.token(SECOND), audience="api")
    assert len(published.asked) == 2
    published.publish(SECOND)
    clock.now_s = 61
    await provider.holder_of(published.token(SECOND), audience="api")
    assert len(published.asked) == 4
    with pytest.raises(TokenRejectedError):
        await provider.holder_of(published.token(FIRST), audience="api")
    clock.now_s = 3700
    await provider.holder_of(published.token(SECOND), audience="api")
    assert len(published.asked) == 6


async def test_known_keys_are_used_for_a_day_while_the_provider_does_not_answer(
    provider: IdentityProvider, published: Published, clock: Clock
) -> None:
    published.publish(FIRST)
    await provider.holder_of(published.token(FIRST), audience="api")
    published.answers = {}
    clock.now_s = 4000
    for _ in range(3):
        await provider.holder_of(published.token(FIRST), audience="api")
    assert len(published.asked) == 3
    clock.now_s = 24 * 3600 + 1
    with pytest.raises(ProviderUnavailableError):
        await provider.holder_of(published.token(FIRST), audience="api")
    published.publish(FIRST)
    clock.now_s += 61
    await provider.holder_of(published.token(FIRST), audience="api")


async def test_a_key_that_the_provider_shares_with_clients_verifies_nothing(
    provider: IdentityProvider, published: Published
) -> None:
    published.publish(FIRST, SECRET)
    with pytest.raises(TokenRejectedError):
        await provider.holder_of(published.token(SECRET, "HS256"), audience="api")


@pytest.mark.parametrize(
    "metadata",
    [{"issuer": "http://127.0.0.1:1"}, {"jwks_uri": "file:///etc/passwd"}, {"jwks_uri": None}, {"x": "y" * 2**20}],
)
async def test_impossible_descriptions_are_refused(
    provider: IdentityProvider, published: Published, metadata: dict[str, Any]
) -> None:
    published.publish(FIRST, **metadata)
    with pytest.raises(ProviderUnavailableError):
        await provider.holder_of(published.token(FIRST), audience="api")


async def test_answers_that_hold_no_keys_are_refused(
    provider: IdentityProvider, published: Published, clock: Clock
) -> None:
    published.publish(FIRST)
    for wrong in (b"", b"[]", b"<html>", b'{"keys": [{"kty": "RSA"}]}'):
        published.answers["/keys"] = wrong
        clock.now_s += 61
        with pytest.raises(ProviderUnavailableError):
            await provider.holder_of(published.token(FIRST), audience="api")
    assert published.asked.count("/keys") == 4
