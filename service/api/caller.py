"""Who sent a request, and what they may do."""

from dataclasses import dataclass
from datetime import datetime

from service.access.keys import ApiKey
from service.access.scopes import Scope
from service.access.sight import ALL, Sight
from service.observability.audit import AuditActor


@dataclass(frozen=True)
class Caller:
    """Who sent a request. `key` is None when authentication is off: then every operation is allowed."""

    key: ApiKey | None
    by_ticket: bool = False
    """Whether a ticket authorizes a stream other than a WebSocket: a ticket must not open anything but streams."""
    sign_in: str | None = None
    """Digest of the sign-in that authorizes it."""
    valid_until: datetime | None = None
    """When what authorizes it expires, apart from the key itself."""
    address: str = ""
    """Address of the client, or of the last untrusted proxy."""

    @property
    def client(self) -> str:
        """The client that limits of streams count by: the key, or without keys the address."""
        return self.address if self.key is None else self.key.id

    @property
    def actor(self) -> AuditActor:
        """The caller in the audit log."""
        if self.key is None:
            return AuditActor(address=self.address)
        if self.key.person is not None:
            issuer = self.key.person.issuer
            return AuditActor(key=self.key.id, person=self.key.name, issuer=issuer, address=self.address)
        return AuditActor(key=self.key.id, key_name=self.key.name, address=self.address)

    def may(self, scope: str) -> bool:
        """Whether the caller has the scope. On a server that requires no key, a caller without one has every scope."""
        if self.key is None:
            return True
        if self.by_ticket and scope not in (Scope.EVENTS_READ, Scope.SESSIONS_WRITE):
            return False
        return scope in self.key.scopes or Scope.ADMIN in self.key.scopes

    @property
    def sight(self) -> Sight:
        """The sessions that the caller sees."""
        return ALL if self.key is None else self.key.sight

    @property
    def owner(self) -> str | None:
        """Id of the key whose subscriptions and quota are the caller's; None if those of all keys are."""
        return None if self.key is None or self.key.sees_all else self.key.id
