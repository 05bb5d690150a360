"""Tells every process that waits for a database's events of a commit at once: SQLite itself has no word for it."""

import asyncio
import os
from pathlib import Path

import structlog
from asyncinotify import Inotify, Mask

LOOK_AGAIN_S = 0.02
_log = structlog.get_logger(__name__)


class Bell:
    """A file beside the database; ringing is to touch it."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + "-bell")
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._rings: Inotify | None = None
        self._is_deaf = False

    def ring(self) -> None:
        os.utime(self._fd)

    def listen(self) -> None:
        """From now on `heard` misses no ring. Idempotent."""
        if self._rings is not None or self._is_deaf:
            return
        try:
            self._rings = Inotify()
        except OSError as error:  # this user has as many as the system permits
            self._is_deaf = True
            _log.warning("events come later; raise fs.inotify.max_user_instances", error=str(error))
        else:
            self._rings.add_watch(self._path, Mask.ATTRIB)

    async def heard(self, timeout_s: float) -> None:
        """Return when it rang since the last time, when the time is up, or soon where rings cannot be heard."""
        if self._rings is None:
            await asyncio.sleep(min(LOOK_AGAIN_S, timeout_s))
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._rings.get()
        except TimeoutError:
            return

    def close(self) -> None:
        if self._rings is not None:
            self._rings.close()
        os.close(self._fd)
