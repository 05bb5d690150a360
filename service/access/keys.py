"""API keys: their form, the record that is stored, and how a request's key is checked.

A key is `cake_<id>_<secret>`. The id is public and finds the record. Only the SHA-256 of the secret is stored. A slow
hash would add nothing, because 256 random bits cannot be guessed.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from service.access.scopes import Scope
from service.access.sight import ALL, MetadataLimit, Sight

_KEY = re.compile(r"cake_(?P<id>[0-9a-f]{16})_(?P<secret>[A-Za-z0-9_-]{43})")


class Limits(BaseModel):
    """Limits of one API key."""

    model_config = ConfigDict(frozen=True, defer_build=True, allow_inf_nan=False)

    max_sessions: Annotated[int, Field(ge=0)]
    """Sessions that have not ended at the same time."""
    requests_per_s: Annotated[float, Field(gt=0)]
    """Average rate at each server process."""
    max_stored_bytes: Annotated[int, Field(ge=0)]
    """Total size of the uploads of all its sessions."""


class Person(BaseModel):
    """A person that a proxy or an identity provider has authenticated."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    issuer: Annotated[str, Field(min_length=1, max_length=500)]
    """URL of the identity provider, or `proxy`."""
    subject: Annotated[str, Field(min_length=1, max_length=255)]
    """The person's id, unique at the issuer."""


class ApiKey(BaseModel):
    """A key as stored. `digest` is the SHA-256 of its secret in hexadecimal digits.

    A person has one, too, as soon as they have signed in: with the scopes and limits of their role, and without a
    secret, so that no request can send it as a key.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    id: str
    name: Annotated[str, Field(min_length=1, max_length=100)]
    digest: str = Field(repr=False)
    scopes: frozenset[Scope]
    limits: Limits
    metadata: MetadataLimit | None = None
    """Limits the key to sessions, of every key, with such metadata. None: it sees the sessions that it submitted."""
    created_at: datetime
    revoked_at: datetime | None = None
    expires_at: AwareDatetime | None = None
    person: Person | None = None
    """The person that it stands for; None for a key that its holder sends."""
    last_used_at: datetime | None = Field(default=None, exclude=True)
    """Accurate to a minute; stored apart from the other fields."""

    @property
    def sight(self) -> Sight:
        """The sessions that it gives access to."""
        if self.metadata is not None:
            return Sight.of_metadata(self.metadata)
        return ALL if self.sees_all else Sight(owner=self.id)

    @property
    def sees_all(self) -> bool:
        """Whether it gives access to the sessions of every key."""
        return Scope.ADMIN in self.scopes

    def is_active(self, now: datetime) -> bool:
        """Whether requests with this key are accepted: it was not revoked and has not expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True)
class Credential:
    """A well-formed key from a request, not verified yet."""

    id: str
    secret: str = field(repr=False)

    def opens(self, key: ApiKey, now: datetime) -> bool:
        """Whether this is the key and it is active; constant time for any wrong secret."""
        is_it = self.id == key.id and key.person is None
        return is_it and hmac.compare_digest(digest(self.secret), key.digest) and key.is_active(now)


def new_key(
    name: str,
    scopes: Iterable[Scope],
    limits: Limits,
    *,
    created_at: datetime,
    expires_at: datetime | None = None,
    key_id: str | None = None,
    metadata: MetadataLimit | None = None,
) -> tuple[str, ApiKey]:
    """A new key, to be shown once, and its record. `key_id` has 16 hexadecimal digits and is random by default."""
    key_id, secret = key_id or secrets.token_hex(8), new_key_secret()
    record = ApiKey(
        id=key_id,
        name=name,
        digest=digest(secret),
        scopes=frozenset(scopes),
        limits=limits,
        metadata=metadata,
        created_at=created_at,
        expires_at=expires_at,
    )
    return f"cake_{key_id}_{secret}", record


def key_of_person(
    person: Person,
    name: str,
    scopes: Iterable[Scope],
    limits: Limits,
    *,
    created_at: datetime,
    metadata: MetadataLimit | None = None,
) -> ApiKey:
    """The key that stands for a person. Its id is derived from their identity, so a person has one key in every
    store.
    """
    return ApiKey(
        id=digest(f"{person.issuer}\n{person.subject}")[:16],
        name=name,
        digest="",
        scopes=frozenset(scopes),
        limits=limits,
        metadata=metadata,
        created_at=created_at,
        person=person,
    )


def parse_key(text: str) -> Credential | None:
    """The credential in `text`, or None when it is not an API key."""
    found = _KEY.fullmatch(text)
    return found and Credential(found["id"], found["secret"])


def new_key_secret() -> str:
    """256 random bits in URL-safe base64."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()
