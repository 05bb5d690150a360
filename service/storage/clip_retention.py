"""Deletes clips that are too old, with a limit of age for each label, and the oldest ones when they take too much
space.

Stills that were cut out of clips are deleted with them. Stills of uploads are deleted in the same way, and cut again
when requested.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import structlog

from service.errors import ServiceError
from service.storage.blobs import Blobs
from service.storage.stored_files import STILL, StoredClip, StoredFile, label_digest

SWEEP_EVERY_S = 60.0
MAX_FAILURES = 10
"""A sweep ends after this many failures, since the bucket is probably unavailable."""
_log = structlog.get_logger(__name__)


class ClipRetention:
    """Several servers may sweep at the same time."""

    def __init__(
        self,
        blobs: Blobs,
        *,
        keep_s: float,
        max_bytes: int,
        keep_of_s: Mapping[str, float] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`keep_s`: 0 keeps clips of any age; `keep_of_s`: the same of single labels. `max_bytes`: of all clips."""
        self._blobs = blobs
        self._keep_s, self._max_bytes = keep_s, max_bytes
        self._keep_of_s = {label_digest(label): seconds for label, seconds in (keep_of_s or {}).items()}
        self._clock = clock

    async def sweep_regularly(self) -> float:
        """Sweep, and return the seconds until the next sweep. Raises ServiceError."""
        await self.sweep()
        return SWEEP_EVERY_S

    async def sweep(self) -> int:
        """Delete clips that are too old or take too much space, and return the number of files. Raises ServiceError."""
        files: list[StoredFile] = []
        async for batch in self._blobs.clips():
            files += batch
        files.sort(key=lambda file: file.modified_at)
        too_many_bytes = sum(file.size_bytes for file in files) - self._max_bytes
        stills = {file.name: file for file in files if file.name.endswith(STILL)}
        removed: set[str] = set()
        failures = 0
        for file in files:
            if file.name in removed or (too_many_bytes <= 0 and not self._is_too_old(file)):
                continue
            clip = StoredClip.of(file.name)
            still = None if clip is None else stills.get(clip.still_name)
            for each in (file, still):
                if each is None or each.name in removed:
                    continue
                if failures == MAX_FAILURES:
                    break
                if await self._remove(each):
                    too_many_bytes -= each.size_bytes
                    removed.add(each.name)
                else:
                    failures += 1
        if removed:
            _log.info("deleted old clips and stills", files=len(removed))
        return len(removed)

    async def _remove(self, file: StoredFile) -> bool:
        """Delete a file. Returns whether it could be deleted; one that cannot does not keep the others from it."""
        try:
            await self._blobs.remove(file)
        except ServiceError as error:
            _log.warning("could not delete an old clip", name=file.name, error=error.detail)
            return False
        return True

    def _is_too_old(self, clip: StoredFile) -> bool:
        found = StoredClip.of(clip.name)
        digest = None if found is None else found.label_digest
        keep_s = self._keep_s if digest is None else self._keep_of_s.get(digest, self._keep_s)
        return keep_s > 0 and clip.modified_at < self._clock() - timedelta(seconds=keep_s)
