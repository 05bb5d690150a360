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
KEPT_FREE_PAGES, GIVEN_PAGES = 4096, 500
"""Free pages that stay in the file, 16 MB, and how many are given back in one transaction: in about 30 ms."""
INCREMENTAL = 2
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

    async def write_in_parts(self, change: Callable[[sqlite3.Connection], bool]) -> None:
        """Repeat `change` until it returns False, each time in a transaction of its own."""
        began_s = time.monotonic()
        while await self.write(change, essential=True):
            # Other processes poll for the lock: leave it free for as long as it was held.
            await asyncio.sleep(time.monotonic() - began_s)
            began_s = time.monotonic()

    async def shrink(self) -> None:
        """Give the disk what deletions have left free in the file, except what new events will soon use."""
        if await self.read(_has_space_to_give):
            await self.write_in_parts(_give_some)
            await self.wipe_deleted()

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


def _has_space_to_give(db: sqlite3.Connection) -> bool:
    (mode,), (free,) = (db.execute(f"PRAGMA {name}").fetchone() for name in ("auto_vacuum", "freelist_count"))
    return bool(mode == INCREMENTAL and free > KEPT_FREE_PAGES)


def _give_some(db: sqlite3.Connection) -> bool:
    """Returns whether there is more."""
    db.execute(f"PRAGMA incremental_vacuum({GIVEN_PAGES})").fetchall()
    return _has_space_to_give(db)
