"""The part of a store that knows who may ask: API keys, tickets, and what each key uses."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from service.access.keys import ApiKey

STORAGE_RETRY_AFTER_S = 60
"""When to ask again after a StorageLimit: somebody must delete something first."""


@dataclass(frozen=True)
class Usage:
    """What one key uses: sessions that have not ended, and bytes of uploads of all its sessions."""

    sessions: int
    stored_bytes: int


class KeyStore(Protocol):
    async def create_key(self, key: ApiKey) -> None:
        """Raises InvalidRequest when a key that was not revoked has the name."""

    async def list_keys(self) -> list[ApiKey]:
        """Oldest first, those that were revoked included."""

    async def has_keys(self) -> bool:
        """Whether there ever was one: to revoke the last key does not open the doors."""

    async def find_key(self, key_id: str) -> ApiKey | None: ...

    async def revoke_key(self, id_or_name: str, *, now: datetime) -> ApiKey:
        """Its requests are refused from now on; idempotent for an id. Raises NotFound."""

    async def key_usage(self, key_id: str) -> Usage: ...

    async def add_ticket(self, digest: str, key_id: str, *, now: datetime, expires_at: datetime) -> None:
        """Keep a ticket by its digest; those that have expired are forgotten."""

    async def redeem_ticket(self, digest: str, *, now: datetime) -> str | None:
        """The id of the key that the ticket stands for, once; None for one that was used, has expired or never was."""
