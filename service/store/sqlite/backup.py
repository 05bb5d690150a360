"""The file of the database: copies that are consistent while servers and workers use it, checks, and compaction."""

import sqlite3
from contextlib import closing
from pathlib import Path

MAX_PROBLEMS = 10


def copy_database(source: Path, target: Path) -> None:
    """Copy the database to the new file `target`, as it is at one moment. Raises OSError, sqlite3.Error."""
    target.touch(mode=0o600, exist_ok=False)
    with closing(_open(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
        new.execute("PRAGMA journal_mode=WAL")


def compact_database(path: Path) -> None:
    """Rewrite the file without the space that deletions left free. Nobody may use it. Raises sqlite3.Error."""
    with closing(_open(path)) as db:
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def damage(path: Path) -> list[str]:
    """What SQLite finds wrong with the file and its references; empty for a sound one."""
    try:
        with closing(_open(path)) as db:
            found = [text for (text,) in db.execute(f"PRAGMA integrity_check({MAX_PROBLEMS})") if text != "ok"]
            broken = [
                f"a row of {row[0]} refers to a missing {row[2]}" for row in db.execute("PRAGMA foreign_key_check")
            ]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return found + broken[:MAX_PROBLEMS]


def _open(path: Path) -> sqlite3.Connection:
    """Open an existing file, never create one."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)
