"""Stores the latest snapshot of a session in the background; analysis never waits for it."""

import asyncio

import structlog

from service.errors import ServiceError
from service.storage.blobs import Blobs

_log = structlog.get_logger(__name__)


class SnapshotWriter:
    """Writes one session's snapshots. One that arrives while another is being written is dropped."""

    def __init__(self, blobs: Blobs, session_id: str) -> None:
        self._blobs = blobs
        self._session_id = session_id
        self._writing: asyncio.Task[None] | None = None

    def put(self, jpeg: bytes) -> None:
        """Start writing a snapshot, unless one is being written."""
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(jpeg))

    async def close(self) -> None:
        """Wait until the last snapshot is written or has failed. Idempotent."""
        if self._writing is not None:
            await self._writing

    async def _write(self, jpeg: bytes) -> None:
        try:
            await self._blobs.put_snapshot(self._session_id, jpeg)
        except ServiceError as error:
            _log.warning("snapshot not stored", session=self._session_id, error=error.detail)
