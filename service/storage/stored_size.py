"""How much space the files of all sessions take."""

import asyncio
import time
from collections.abc import Callable

from service.storage.blobs import Blobs

MEASURE_EVERY_S = 15.0
"""Listing a large bucket takes many requests."""


class StoredSize:
    """Lists the files at most every MEASURE_EVERY_S, regardless of the number of requests."""

    def __init__(self, blobs: Blobs, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._blobs = blobs
        self._clock_s = clock_s
        self._measured: tuple[float, int] | None = None
        """Time of the last measurement, and its result."""
        self._measuring = asyncio.Lock()

    async def size_bytes(self) -> int:
        """Total size of uploads and snapshots, as it was some seconds ago. Raises StoreUnavailableError."""
        async with self._measuring:
            now_s = self._clock_s()
            if self._measured is None or now_s - self._measured[0] >= MEASURE_EVERY_S:
                size_bytes = 0
                async for batch in self._blobs.files():
                    size_bytes += sum(file.size_bytes for file in batch if not file.is_local)
                self._measured = now_s, size_bytes
            return self._measured[1]
