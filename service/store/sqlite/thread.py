"""One SQLite connection in its own thread, so that no statement blocks the event loop."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from service.errors import StorageFullError, StoreUnavailableError

T = TypeVar("T")
PATIENCE_S = 5.0
"""Longest wait for the thread and for the locks of other processes combined."""


CHECKPOINT_S = 1.0


class SqliteThread:
    """Runs functions of the connection one at a time."""

    def __init__(self, path: Path, *, prepare: Callable[[sqlite3.Connection], None] | None = None) -> None:
        """Open the file; `prepare` runs first, in a write transaction. Blocks: for start-up only.

        Raises StoreUnavailableError, StorageFullError, and what `prepare` raises.
        """
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        try:
            self._db = self._executor.submit(_connect, path).result()
        except sqlite3.DatabaseError as error:
            raise _translated(error) from error
        if prepare is not None:
            deadline_s = time.monotonic() + PATIENCE_S
            self._executor.submit(_transact, self._db, prepare, "BEGIN IMMEDIATE", deadline_s).result()

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `query`, which sees one state of the database."""
        return await self._run(query, "BEGIN")

    async def write(self, change: Callable[[sqlite3.Connection], T], *, then: Callable[[], None] | None = None) -> T:
        """The result of `change`, committed; then calls `then`. Rolls back when `change` raises."""
        return await self._run(change, "BEGIN IMMEDIATE", then)

    async def checkpoint(self) -> bool:
        """Move the write-ahead log into the database and empty it; whether that was possible within CHECKPOINT_S."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, _checkpoint, self._db)

    async def close(self) -> None:
        """Finish what was begun, then close."""
        await asyncio.get_running_loop().run_in_executor(self._executor, self._db.close)
        self._executor.shutdown()

    async def _run(
        self, work: Callable[[sqlite3.Connection], T], begin: str, then: Callable[[], None] | None = None
    ) -> T:
        deadline_s = time.monotonic() + PATIENCE_S
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, _transact, self._db, work, begin, deadline_s, then
        )


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=PATIENCE_S)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA journal_mode=WAL")
    # A commit survives the death of any process; after a power cut the newest may be missing, never half of one.
    db.execute("PRAGMA synchronous=NORMAL")
    db.execute("PRAGMA foreign_keys=ON")
    # Deleted rows hold passwords and tokens: overwrite them.
    db.execute("PRAGMA secure_delete=ON")
    db.execute(f"PRAGMA journal_size_limit={64 * 1024**2}")
    return db


def _checkpoint(db: sqlite3.Connection) -> bool:
    db.execute(f"PRAGMA busy_timeout={int(CHECKPOINT_S * 1000)}")
    try:
        (is_busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError:
        return False
    return not is_busy


def _transact(
    db: sqlite3.Connection,
    work: Callable[[sqlite3.Connection], T],
    begin: str,
    deadline_s: float,
    then: Callable[[], None] | None = None,
) -> T:
    """Run `work` in one transaction. The deadline includes the wait behind earlier work of this thread."""
    patience_ms = int((deadline_s - time.monotonic()) * 1000)
    if patience_ms <= 0:
        raise StoreUnavailableError("The database is busy. Retry.")
    try:
        db.execute(f"PRAGMA busy_timeout={patience_ms}")
        db.execute(begin)
        try:
            result = work(db)
            db.execute("COMMIT")
        finally:
            # On some errors, such as a full disk, SQLite has already rolled back.
            if db.in_transaction:
                db.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        raise _translated(error) from error
    if then is not None:
        then()
    return result


def _translated(error: sqlite3.DatabaseError) -> Exception:
    # Mistakes in the use of the connection have no code.
    primary_code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if primary_code == sqlite3.SQLITE_FULL:
        return StorageFullError("The disk of the database is full. Free some space.")
    if primary_code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreUnavailableError("The database is locked by another process. Retry.")
    if primary_code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
        return StoreUnavailableError(f"The database cannot be used ({error}). Check its disk and permissions.")
    if primary_code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreUnavailableError(
            f"The database is damaged ({error}). Run `cake store check`, and restore a backup."
        )
    return error
