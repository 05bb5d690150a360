"""Revokes API keys that have expired: what they started would otherwise continue for their holders."""

from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from service.access.keys import ApiKey
from service.errors import ServiceError
from service.observability.audit import AuditActor, AuditLog
from service.store.protocols import Store
from service.store.revocation import end_all_of
from service.store.state_log import log_stopped

CHECK_EVERY_S = 60.0
_log = structlog.get_logger(__name__)


class ExpiredKeys:
    """Several servers may look for expired keys at the same time."""

    def __init__(
        self, store: Store, audit: AuditLog, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store = store
        self._audit = audit
        self._clock = clock

    async def check(self) -> float:
        """Revoke the keys that have expired, and return the seconds until the next check. Raises ServiceError."""
        now = self._clock()
        for key in await self._store.keys.all():
            if key.revoked_at is None and not key.is_active(now):
                await self._revoke(key, now)
        return CHECK_EVERY_S

    async def _revoke(self, key: ApiKey, now: datetime) -> None:
        try:
            # Nobody can use the key any more. It is marked as revoked last, so that steps that fail are repeated.
            sessions = await end_all_of(self._store, key.id)
            log_stopped(sessions)
            await self._store.keys.revoke(key.id, now=now)
        except ServiceError as error:
            # The other keys are revoked nevertheless.
            _log.warning("an expired API key was not revoked completely", key=key.id, error=error.detail)
            return
        _log.info("revoked an expired API key", key=key.id, name=key.name, sessions_stopped=len(sessions))
        known = {"changed_key": key.id, "changed_key_name": key.name}
        self._audit.record("key.revoke", AuditActor(), **known, sessions_stopped=str(len(sessions)), reason="expired")
