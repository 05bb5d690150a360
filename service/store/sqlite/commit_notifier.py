"""Cross-process commit notification via inotify, since SQLite has no NOTIFY."""

import asyncio
import os
from pathlib import Path

import structlog
from asyncinotify import Inotify, Mask

POLL_EVERY_S = 0.02
_log = structlog.get_logger(__name__)


class CommitNotifier:
    """A file next to the database. A commit touches it, and every process that watches the file wakes up."""

    def __init__(self, database: Path) -> None:
        # The suffix is older than this class; processes of different versions must agree on it.
        self._path = database.with_name(database.name + "-bell")
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._inotify: Inotify | None = None
        self._polls = False

    def notify(self) -> None:
        """Wake every waiting process."""
        os.utime(self._fd)

    def subscribe(self) -> None:
        """From now on `wait` misses no notification. Idempotent."""
        if self._inotify is not None or self._polls:
            return
        try:
            self._inotify = Inotify()
        except OSError as error:  # the user's limit of instances is reached
            self._polls = True
            _log.warning("inotify unavailable, polling instead; raise fs.inotify.max_user_instances", error=str(error))
        else:
            self._inotify.add_watch(self._path, Mask.ATTRIB)

    async def wait(self, timeout_s: float) -> None:
        """Return after a notification, after `timeout_s`, or after a polling interval where inotify is unavailable."""
        if self._inotify is None:
            await asyncio.sleep(min(POLL_EVERY_S, timeout_s))
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._inotify.get()
        except TimeoutError:
            return

    def close(self) -> None:
        """Stop watching and release the file."""
        if self._inotify is not None:
            self._inotify.close()
        os.close(self._fd)
