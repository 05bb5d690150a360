"""What the store must do for API keys and tickets."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from service.access.keys import ApiKey
from service.store.records import KeyUsage


class Keys(Protocol):
    """API keys, tickets and what each key uses."""

    async def create(self, key: ApiKey) -> None:
        """Add a key.

        Raises:
            InvalidRequestError: An active key has the same name.
        """

    async def admit(self, key: ApiKey) -> ApiKey:
        """Add the key of a person unless there is one; returns the stored one. Names of people need not be unique."""

    async def change(self, key_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey:
        """Replace a key by the result of `change`, which keeps id and name. Atomic, so `change` may be called
        repeatedly.

        Raises:
            NotFoundError: No key has this id.
        """

    async def all(self) -> list[ApiKey]:
        """All keys, oldest first, including revoked ones."""

    async def exist(self) -> bool:
        """Whether any key was ever created: revoking the last one does not turn authentication off."""

    async def find(self, key_id: str) -> ApiKey | None:
        """The key with this id."""

    async def revoke(self, id_or_name: str, *, now: datetime) -> ApiKey:
        """Refuse the key from now on; idempotent by id.

        Raises:
            NotFoundError: No key has this id, and no active key has this name.
        """

    async def note_used(self, key_id: str, *, now: datetime) -> None:
        """Set the key's `last_used_at`."""

    async def usage(self, key_id: str) -> KeyUsage:
        """What the key uses at present."""

    async def add_ticket(self, digest: str, key_id: str, *, now: datetime, expires_at: datetime) -> None:
        """Keep a ticket by its digest, and drop expired tickets."""

    async def redeem_ticket(self, digest: str, *, now: datetime) -> str | None:
        """The id of the ticket's key, once; None for a used, expired or unknown ticket."""

    async def find_ticket(self, digest: str, *, now: datetime) -> str | None:
        """The id of the ticket's key, any number of times; None for an expired or unknown ticket."""
