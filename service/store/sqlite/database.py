"""The SQLite database of one process: a writing and a reading connection, and the notification of commits."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from service.errors import StorageFullError
from service.store.reading import Reader
from service.store.sqlite.commit_notifier import CommitNotifier
from service.store.sqlite.disk_reserve import DiskReserve
from service.store.sqlite.schema import migrate
from service.store.sqlite.thread import SqliteThread

ESSENTIAL_ATTEMPTS = 5
"""Another process may hold the released space back again, or use it, before this one has written."""
T = TypeVar("T")


class Database:
    """Every part of the store runs its statements here.

    `clock` times the leases, in seconds, and must be the same for all processes of the machine. The monotonic clock is,
    and nothing sets it back.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic, reader: Reader | None = None) -> None:
        """Create or upgrade the file. Blocks: for start-up only.

        Raises:
            StoreUnavailableError: It is damaged, or a newer version of CAKE wrote it.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._writer = SqliteThread(path, prepare=migrate)
        self._reader = SqliteThread(path)
        self.notifier = CommitNotifier(path)
        self.claims = CommitNotifier(path)
        """A second one: a notification wakes one waiting task of a process, and both a worker and the feed wait."""
        self._reserve = DiskReserve(path.with_name(path.name + "-reserve"))
        self._reserve.restore()
        self.now_s = clock
        self.reader = reader or Reader()

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `query`, which sees one state of the database."""
        return await self._reader.read(query)

    async def write(
        self, change: Callable[[sqlite3.Connection], T], *, notify: bool = False, essential: bool = False
    ) -> T:
        """The result of `change`, committed; rolled back when it raises.

        Args:
            change: Runs in one transaction.
            notify: Wake those who wait for events or for sessions to claim.
            essential: On a full disk, use the space that is held back: for small writes that free space or capacity.
        """
        then = self.notifier.notify if notify else None
        if not essential:
            return await self._writer.write(change, then=then)
        attempts_left = ESSENTIAL_ATTEMPTS
        while True:
            attempts_left -= 1
            try:
                result = await self._writer.write(change, then=then)
                break
            except StorageFullError:
                if attempts_left == 0:
                    raise
                await asyncio.to_thread(self._reserve.release)
        await asyncio.to_thread(self._reserve.restore)
        return result

    async def wipe_deleted(self) -> None:
        """Empty the write-ahead log, which still holds what was deleted; best effort, as a reader can prevent it."""
        await self._writer.checkpoint()
        await asyncio.to_thread(self._reserve.restore)

    async def close(self) -> None:
        """Finish what was begun, then close."""
        await self._reader.close()
        await self._writer.close()
        self.notifier.close()
        self.claims.close()
