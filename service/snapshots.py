"""The latest picture of a session, kept beside its analysis, which never waits for it."""

import asyncio

import structlog

from service.blobs import Blobs
from service.errors import ServiceError

_log = structlog.get_logger(__name__)


class SnapshotKeeper:
    """Of one session. A picture that comes while the one before is being written is left out."""

    def __init__(self, blobs: Blobs, session_id: str) -> None:
        self._blobs = blobs
        self._session_id = session_id
        self._writing: asyncio.Task[None] | None = None

    def keep(self, jpeg: bytes) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(jpeg))

    async def close(self) -> None:
        """Return when the last picture is written, or could not be. Idempotent."""
        if self._writing is not None:
            await self._writing

    async def _write(self, jpeg: bytes) -> None:
        try:
            await self._blobs.put_snapshot(self._session_id, jpeg)
        except ServiceError as error:
            _log.warning("snapshot not kept", session=self._session_id, error=error.detail)
