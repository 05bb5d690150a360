"""Free space of the data folder's disk, and the low-water mark below which it takes no more uploads."""

import shutil
from pathlib import Path

from service.errors import StorageFullError


class Disk:
    """The disk of one folder. Uploads stop before the database has no room left."""

    def __init__(self, folder: Path, min_free_bytes: int) -> None:
        self._folder = folder
        self._min_free_bytes = min_free_bytes

    def free_bytes(self) -> int:
        """Bytes that this process can still write."""
        return shutil.disk_usage(self._folder).free

    def is_low(self) -> bool:
        """Whether less than the low-water mark is free."""
        return self.free_bytes() < self._min_free_bytes

    def require_room(self, size_bytes: int = 0) -> None:
        """Check that the low-water mark stays free after `size_bytes` more.

        Raises:
            StorageFullError: It would not.
        """
        if self.free_bytes() - size_bytes < self._min_free_bytes:
            raise StorageFullError("The server is almost out of disk space. Delete ended sessions, or free disk space.")
