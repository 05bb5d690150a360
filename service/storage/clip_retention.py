"""Deletes clips that are old, and the oldest ones when all of them take too much space."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from service.storage.blobs import Blobs
from service.storage.stored_files import StoredFile

SWEEP_EVERY_S = 60.0
_log = structlog.get_logger(__name__)


class ClipRetention:
    """Several servers may sweep at the same time."""

    def __init__(
        self, blobs: Blobs, *, keep_s: float, max_bytes: int, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """`keep_s`: 0 keeps clips of any age. `max_bytes`: of all of them."""
        self._blobs = blobs
        self._keep_s, self._max_bytes = keep_s, max_bytes
        self._clock = clock

    async def sweep_regularly(self) -> float:
        """Sweep, and return the seconds until the next sweep. Raises ServiceError."""
        await self.sweep()
        return SWEEP_EVERY_S

    async def sweep(self) -> int:
        """Delete what is too old or too much, and return the number of clips. Raises ServiceError."""
        clips: list[StoredFile] = []
        async for batch in self._blobs.clips():
            clips += batch
        clips.sort(key=lambda clip: clip.modified_at)
        too_many_bytes = sum(clip.size_bytes for clip in clips) - self._max_bytes
        oldest = self._clock() - timedelta(seconds=self._keep_s)
        removed = 0
        for clip in clips:
            if too_many_bytes <= 0 and not (self._keep_s and clip.modified_at < oldest):
                break
            await self._blobs.remove(clip)
            too_many_bytes -= clip.size_bytes
            removed += 1
        if removed:
            _log.info("deleted old clips", clips=removed)
        return removed
