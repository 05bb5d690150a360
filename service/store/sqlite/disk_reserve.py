"""Space that the database holds back for the writes that must succeed on a full disk."""

import os
from contextlib import suppress
from pathlib import Path

SIZE_BYTES = 8 * 1024**2


class DiskReserve:
    """A file that holds some space back, so that deletions and stops succeed on a full disk."""

    def __init__(self, path: Path, size_bytes: int = SIZE_BYTES) -> None:
        self._path = path
        self._size_bytes = size_bytes

    def restore(self) -> bool:
        """Hold the space back if it is not, and the disk has room for it. Blocks; idempotent."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size < self._size_bytes:
                os.posix_fallocate(fd, 0, self._size_bytes)
            return True
        except OSError:
            os.ftruncate(fd, 0)
            return False
        finally:
            os.close(fd)

    def release(self) -> None:
        """Give the space back to the disk. Blocks; idempotent."""
        with suppress(FileNotFoundError):
            os.truncate(self._path, 0)
