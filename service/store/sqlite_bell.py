"""Tells every process that waits for a database's events of a commit at once: SQLite itself has no word for it."""

import asyncio
import errno
import os
from pathlib import Path

from asyncinotify import Inotify, Mask

from service.errors import StoreUnavailable


class Bell:
    """A file beside the database; ringing is to touch it."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + "-bell")
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._rings: Inotify | None = None

    def ring(self) -> None:
        os.utime(self._fd)

    def listen(self) -> None:
        """From now on `heard` misses no ring. Idempotent. Raises StoreUnavailable."""
        if self._rings is None:
            try:
                self._rings = Inotify()
            except OSError as error:
                if error.errno != errno.EMFILE:
                    raise
                raise StoreUnavailable(
                    "This user watches too many files for events to be told; raise fs.inotify.max_user_instances."
                ) from error
            self._rings.add_watch(self._path, Mask.ATTRIB)

    async def heard(self, timeout_s: float) -> None:
        """Return when it rang since the last time, or when the time is up."""
        assert self._rings is not None
        try:
            async with asyncio.timeout(timeout_s):
                await self._rings.get()
        except TimeoutError:
            return

    def close(self) -> None:
        if self._rings is not None:
            self._rings.close()
        os.close(self._fd)
