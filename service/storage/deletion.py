"""Deletes sessions with their files, and files whose session no longer exists.

Files are deleted before the record, which is the only way to them: a deletion that fails or is interrupted at any step
can be repeated. Files that another process wrote in between are deleted by the sweep.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog

from service.errors import ServiceError
from service.storage.blobs import Blobs
from service.storage.stored_files import StoredFile
from service.store.protocols import Sessions

SWEEP_EVERY_S = 24 * 3600.0
MIN_AGE = timedelta(hours=1)
"""Younger files may belong to a session that is being created."""
_log = structlog.get_logger(__name__)


async def delete_session(sessions: Sessions, blobs: Blobs, session_id: str) -> None:
    """Delete an ended session and its files. Idempotent until the record is deleted.

    Raises:
        NotFoundError: There is no such session.
        InvalidRequestError: The session has not ended.
        StoreUnavailableError: Nothing is lost track of; repeat the call.
    """
    await sessions.require_ended(session_id)
    await blobs.delete(session_id)
    await sessions.delete(session_id)
    # A worker may have written a last snapshot in the meantime. If this fails, the sweep finds it.
    with suppress(ServiceError):
        await blobs.delete(session_id)


async def delete_files_of_deleted(sessions: Sessions, blobs: Blobs, session_id: str) -> None:
    """Delete a session's files if the session was deleted while a worker was still writing them."""
    try:
        if session_id not in await sessions.existing([session_id]):
            await blobs.delete(session_id)
    except ServiceError as error:
        _log.warning(
            "could not check whether a session was deleted; if it was, the sweep deletes its files",
            session=session_id,
            error=error.detail,
        )


class OrphanSweep:
    """Deletes files whose session does not exist, at start-up and then daily. Several servers may sweep at a time."""

    def __init__(
        self, sessions: Sessions, blobs: Blobs, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._sessions = sessions
        self._blobs = blobs
        self._clock = clock

    async def sweep_daily(self) -> float:
        """Sweep, and return the seconds until the next sweep. Raises ServiceError."""
        await self.sweep()
        return SWEEP_EVERY_S

    async def sweep(self) -> int:
        """Delete orphaned files and return their number. Raises ServiceError."""
        removed = 0
        youngest = self._clock() - MIN_AGE
        async for batch in self._blobs.files():
            old = [file for file in batch if file.modified_at <= youngest]
            existing = await self._sessions.existing([file.session_id for file in old])
            for file in old:
                if file.session_id not in existing:
                    removed += await self._remove(file)
        return removed

    async def _remove(self, file: StoredFile) -> bool:
        """Delete a file. Returns whether it could be deleted; one that cannot does not keep the others from it."""
        try:
            await self._blobs.remove(file)
        except ServiceError as error:
            _log.warning("could not delete an orphaned file", name=file.name, error=error.detail)
            return False
        _log.info("deleted an orphaned file", name=file.name)
        return True
