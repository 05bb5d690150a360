"""Deletes ended sessions when they are old, and, if the operator wishes, when the disk is almost full."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import Counter

from service.errors import NotFoundError, ServiceError
from service.storage.blobs import Blobs
from service.storage.deletion import delete_session
from service.storage.disk import Disk
from service.store.protocols import Sessions

SWEEP_EVERY_S = 60.0
BATCH = 100
MAX_FAILURES = 10
"""A sweep ends after this many failures, since the bucket is probably unavailable."""
SET_ASIDE = timedelta(minutes=10)
"""How long a session that could not be deleted is skipped, so that it does not delay others."""
_log = structlog.get_logger(__name__)


class Retention:
    """Several servers may sweep at the same time: each skips what another has deleted."""

    def __init__(
        self,
        sessions: Sessions,
        blobs: Blobs,
        disk: Disk,
        poison: Counter,
        *,
        keep_s: float,
        delete_when_low: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        note_deleted: Callable[[str, str], None] = lambda session_id, reason: None,
    ) -> None:
        """`keep_s`: 0 keeps ended sessions. `delete_when_low`: delete the oldest while little disk space is free.

        `poison` counts sessions whose deletion raised an unexpected exception. `note_deleted` is called with the id of
        each deleted session and the reason.
        """
        self._sessions = sessions
        self._blobs = blobs
        self._disk = disk
        self._poison = poison
        self._keep_s = keep_s
        self._delete_when_low = delete_when_low
        self._clock = clock
        self._note_deleted = note_deleted
        self._set_aside: dict[str, datetime] = {}
        """Sessions that could not be deleted, and until when they are skipped."""

    async def sweep_regularly(self) -> float:
        """Sweep, and return the seconds until the next sweep. Raises ServiceError."""
        return 0.0 if await self.sweep() >= BATCH else SWEEP_EVERY_S

    async def sweep(self) -> int:
        """Delete up to BATCH old sessions and return their number. Raises ServiceError."""
        deleted = failed = 0
        if self._keep_s:
            for session_id in await self._due(self._clock() - timedelta(seconds=self._keep_s), limit=BATCH):
                if failed == MAX_FAILURES:
                    return deleted
                is_deleted = await self._delete(session_id, reason="old")
                deleted, failed = deleted + is_deleted, failed + (not is_deleted)
        while self._delete_when_low and deleted < BATCH and failed < MAX_FAILURES and self._disk.is_low():
            oldest = await self._due(self._clock(), limit=1)
            if not oldest:
                break
            is_deleted = await self._delete(oldest[0], reason="low disk space")
            deleted, failed = deleted + is_deleted, failed + (not is_deleted)
        return deleted

    async def _due(self, ended_before: datetime, *, limit: int) -> list[str]:
        """The sessions that ended first, without those set aside."""
        now = self._clock()
        self._set_aside = {session_id: until for session_id, until in self._set_aside.items() if until > now}
        found = await self._sessions.ended_before(ended_before, limit=limit + len(self._set_aside))
        return [session_id for session_id in found if session_id not in self._set_aside][:limit]

    async def _delete(self, session_id: str, *, reason: str) -> bool:
        """Delete a session. Returns whether it no longer exists; otherwise it is set aside."""
        try:
            await delete_session(self._sessions, self._blobs, session_id)
        except NotFoundError:
            return True
        except ServiceError as error:
            _log.warning("could not delete an ended session", session=session_id, error=error.detail)
        except Exception:
            _log.exception("could not delete an ended session", session=session_id)
            self._poison.labels("retention").inc()
        else:
            _log.info("deleted an ended session", session=session_id, reason=reason)
            self._note_deleted(session_id, reason)
            return True
        self._set_aside[session_id] = self._clock() + SET_ASIDE
        return False
