"""The tables of the SQLite store and their version."""

import sqlite3

VERSION = 1

_TABLES = (
    """CREATE TABLE sessions (
        n INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL,
        ended INTEGER NOT NULL DEFAULT 0,
        pace TEXT NOT NULL,
        model TEXT NOT NULL,
        cost REAL NOT NULL,
        worker_id TEXT,
        token INTEGER NOT NULL DEFAULT 0,
        lease_until REAL NOT NULL DEFAULT 0,
        stop_requested INTEGER NOT NULL DEFAULT 0,
        idempotency_key TEXT UNIQUE,
        digest TEXT NOT NULL,
        record TEXT NOT NULL)""",
    "CREATE INDEX sessions_by_state ON sessions (state)",
    "CREATE INDEX sessions_active ON sessions (n) WHERE NOT ended",
    "CREATE INDEX sessions_by_worker ON sessions (worker_id) WHERE worker_id IS NOT NULL",
    """CREATE TABLE events (
        cursor INTEGER PRIMARY KEY AUTOINCREMENT,
        session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        media_ms INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        event TEXT NOT NULL,
        UNIQUE (session_id, media_ms, seq))""",
    """CREATE TABLE scores (
        session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        pts_s REAL NOT NULL,
        scores BLOB NOT NULL,
        PRIMARY KEY (session_id, pts_s)) WITHOUT ROWID""",
    """CREATE TABLE checkpoints (
        session_id TEXT PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
        position_s REAL NOT NULL,
        detector BLOB NOT NULL,
        starts TEXT NOT NULL,
        frames INTEGER NOT NULL)""",
    """CREATE TABLE workers (
        id TEXT PRIMARY KEY,
        capacity REAL NOT NULL,
        models TEXT NOT NULL,
        lease_until REAL NOT NULL)""",
)


def migrate(db: sqlite3.Connection) -> None:
    """Make the tables of a new database; called inside a write transaction. Raises ValueError for a newer version."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise ValueError(f"The database has schema version {version}, this CAKE knows {VERSION}: install a newer CAKE.")
    if version == 0:
        for table in _TABLES:
            db.execute(table)
        db.execute(f"PRAGMA user_version={VERSION}")
