"""Space that the database holds back for the writes that must succeed on a full disk."""

import os
from contextlib import suppress
from pathlib import Path

SIZE_BYTES = 8 * 1024**2
RELEASES = 4
"""After this many releases, the whole space has been given up."""


class DiskReserve:
    """A file that holds some space back, so that deletions and stops succeed on a full disk."""

    def __init__(self, path: Path, size_bytes: int = SIZE_BYTES) -> None:
        self._path = path
        self._size_bytes = size_bytes

    def restore(self) -> bool:
        """Hold the space back, or as much of it as the disk has room for. Returns whether that is all. Blocks;
        idempotent.

        In this way, what a write leaves of the space is held back again for the next one.
        """
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            held_bytes = os.fstat(fd).st_size
            disk = os.fstatvfs(fd)
            wanted_bytes = min(self._size_bytes, held_bytes + disk.f_bavail * disk.f_frsize)
            if held_bytes < wanted_bytes:
                os.posix_fallocate(fd, 0, wanted_bytes)
            return wanted_bytes == self._size_bytes
        except OSError:
            os.ftruncate(fd, 0)
            return False
        finally:
            os.close(fd)

    def release(self) -> None:
        """Give back only a part of the space, since other processes may take it immediately. Blocks."""
        with suppress(FileNotFoundError):
            os.truncate(self._path, max(0, self._path.stat().st_size - self._size_bytes // RELEASES))
