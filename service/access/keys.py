"""API keys: how they look, what of them is stored, and how one that came with a request is checked.

A key is `cake_<id>_<secret>`. The id is public and finds the record; of the secret only the SHA-256 is kept, which is
enough for 256 random bits: there is nothing to guess, so nothing that a slow hash would protect.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from service.access.scopes import Scope

_KEY = re.compile(r"cake_(?P<id>[0-9a-f]{16})_(?P<secret>[A-Za-z0-9_-]{43})")


class Limits(BaseModel):
    """What one key may use at a time."""

    model_config = ConfigDict(frozen=True)

    max_sessions: Annotated[int, Field(ge=0)]
    """Sessions that have not ended."""
    requests_per_s: Annotated[float, Field(gt=0)]
    """Of each server process, on average."""
    max_stored_bytes: Annotated[int, Field(ge=0)]
    """Uploaded videos of sessions that were not deleted."""


class ApiKey(BaseModel):
    """A key as stored. `digest` is the SHA-256 of its secret in hexadecimal digits."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: Annotated[str, Field(min_length=1, max_length=100)]
    digest: str = Field(repr=False)
    scopes: frozenset[Scope]
    limits: Limits
    created_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True)
class Credential:
    """A key as it came with a request: well-formed, not yet known to be good."""

    id: str
    secret: str = field(repr=False)

    def opens(self, key: ApiKey) -> bool:
        """Whether `key` is this one and was not revoked; takes equally long however wrong the secret is."""
        return self.id == key.id and hmac.compare_digest(digest(self.secret), key.digest) and key.revoked_at is None


def new_key(
    name: str, scopes: Iterable[Scope], limits: Limits, *, created_at: datetime, key_id: str | None = None
) -> tuple[str, ApiKey]:
    """A key, to be shown once, and its record; with a random id unless one of 16 hexadecimal digits is given."""
    key_id, secret = key_id or secrets.token_hex(8), new_secret()
    record = ApiKey(
        id=key_id, name=name, digest=digest(secret), scopes=frozenset(scopes), limits=limits, created_at=created_at
    )
    return f"cake_{key_id}_{secret}", record


def parse_key(text: str) -> Credential | None:
    """None for what cannot be a key."""
    found = _KEY.fullmatch(text)
    return found and Credential(found["id"], found["secret"])


def new_secret() -> str:
    """256 random bits, safe in a URL."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
