"""Deletes sessions that ended long ago, with all that belongs to them."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog

from service.blobs import Blobs
from service.errors import NotFound, ServiceError
from service.store.base import Store

LOOK_EVERY_S = 60.0
AT_ONCE = 100
_log = structlog.get_logger(__name__)


class Retention:
    """Several servers may do this at a time: what one has deleted the others pass over."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        keep_s: float,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._keep = timedelta(seconds=keep_s)
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            deleted = 0
            try:
                deleted = await self.sweep()
            except ServiceError as error:
                _log.warning("ended sessions not deleted", error=error.detail)
            if deleted < AT_ONCE:
                await asyncio.sleep(LOOK_EVERY_S)

    async def sweep(self) -> int:
        """Delete up to AT_ONCE sessions; how many there were. Raises ServiceError."""
        due = await self._store.ended_before(self._clock() - self._keep, limit=AT_ONCE)
        for session_id in due:
            # First what the session's record leads to: without the record nobody would find it.
            await self._blobs.delete(session_id)
            with suppress(NotFound):
                await self._store.delete_session(session_id)
            _log.info("ended session deleted", session=session_id)
        return len(due)
