"""One SQLite connection in a thread of its own, so that no statement ever blocks the event loop."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from service.errors import StorageFull, StoreUnavailable

T = TypeVar("T")
PATIENCE_S = 5.0
"""Longest wait for the thread and for the locks of other processes, together."""


class SqliteThread:
    """Runs functions of the connection one after the other."""

    def __init__(self, path: Path, *, prepare: Callable[[sqlite3.Connection], None] | None = None) -> None:
        """Open the file; `prepare` runs first, in a write transaction. Blocks: for start-up only."""
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        self._db = self._executor.submit(_connect, path).result()
        if prepare is not None:
            deadline_s = time.monotonic() + PATIENCE_S
            self._executor.submit(_transact, self._db, prepare, "BEGIN IMMEDIATE", deadline_s).result()

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """What `query` returns, all of it seen at one moment of the database."""
        return await self._run(query, "BEGIN")

    async def write(self, change: Callable[[sqlite3.Connection], T], *, then: Callable[[], None] | None = None) -> T:
        """What `change` returns, committed, and `then` was called; rolled back when it raises."""
        return await self._run(change, "BEGIN IMMEDIATE", then)

    async def close(self) -> None:
        """Let what was begun finish, then close."""
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
    db.execute(f"PRAGMA journal_size_limit={64 * 1024**2}")
    return db


def _transact(
    db: sqlite3.Connection,
    work: Callable[[sqlite3.Connection], T],
    begin: str,
    deadline_s: float,
    then: Callable[[], None] | None = None,
) -> T:
    """Run `work` in one transaction. The deadline also counts the wait behind earlier work of this thread."""
    patience_ms = int((deadline_s - time.monotonic()) * 1000)
    if patience_ms <= 0:
        raise StoreUnavailable("The database was busy for too long; try again.")
    try:
        db.execute(f"PRAGMA busy_timeout={patience_ms}")
        db.execute(begin)
        try:
            result = work(db)
            db.execute("COMMIT")
        finally:
            # Some errors, a full disk among them, make SQLite roll back by itself.
            if db.in_transaction:
                db.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        raise _translated(error) from error
    if then is not None:
        then()
    return result


def _translated(error: sqlite3.OperationalError) -> Exception:
    primary_code = error.sqlite_errorcode & 0xFF
    if primary_code == sqlite3.SQLITE_FULL:
        return StorageFull("The disk of the database is full; free some space.")
    if primary_code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreUnavailable("The database was locked for too long; try again.")
    if primary_code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
        return StoreUnavailable(f"The database cannot be used ({error}); see to its disk.")
    return error
