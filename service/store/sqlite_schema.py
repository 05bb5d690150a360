"""The tables of the SQLite store and their version."""

import sqlite3

_FIRST = (
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


_KEYS = (
    "ALTER TABLE sessions ADD COLUMN owner TEXT",
    "ALTER TABLE sessions ADD COLUMN upload_bytes INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX sessions_by_owner ON sessions (owner) WHERE owner IS NOT NULL",
    """CREATE TABLE keys (
        n INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        record TEXT NOT NULL)""",
    """CREATE TABLE tickets (
        digest TEXT PRIMARY KEY,
        key_id TEXT NOT NULL,
        expires_at REAL NOT NULL)""",
)
_WEBHOOKS = (
    """CREATE TABLE webhooks (
        session_id TEXT PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
        url TEXT NOT NULL,
        secret TEXT NOT NULL,
        delivered TEXT,
        media_ms INTEGER NOT NULL DEFAULT -1,
        seq INTEGER NOT NULL DEFAULT -1,
        attempts INTEGER NOT NULL DEFAULT 0,
        failing_since REAL,
        try_at REAL NOT NULL DEFAULT 0,
        done INTEGER NOT NULL DEFAULT 0)""",
    "CREATE INDEX webhooks_open ON webhooks (try_at) WHERE NOT done",
)
_PUSH = ("ALTER TABLE workers ADD COLUMN push TEXT",)
_LIGHT_CHECKPOINTS = (
    """CREATE TABLE detectors (
        session_id TEXT PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
        position_s REAL NOT NULL,
        state BLOB NOT NULL)""",
    "INSERT INTO detectors SELECT session_id, position_s, detector FROM checkpoints",
    "ALTER TABLE checkpoints RENAME TO heavy_checkpoints",
    """CREATE TABLE checkpoints (
        session_id TEXT PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
        position_s REAL NOT NULL,
        starts TEXT NOT NULL,
        frames INTEGER NOT NULL)""",
    "INSERT INTO checkpoints SELECT session_id, position_s, starts, frames FROM heavy_checkpoints",
    "DROP TABLE heavy_checkpoints",
)
_WATCHED = ("ALTER TABLE sessions ADD COLUMN watched_until REAL NOT NULL DEFAULT 0",)
_STEPS = (_FIRST, _KEYS, _WEBHOOKS, _PUSH, _LIGHT_CHECKPOINTS, _WATCHED)
"""What makes each version of the one before it; never changed once released."""
VERSION = len(_STEPS)


def migrate(db: sqlite3.Connection) -> None:
    """Bring a new or older database to VERSION, inside a write transaction. Raises ValueError for a newer version."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise ValueError(f"The database has schema version {version}, this CAKE knows {VERSION}: install a newer CAKE.")
    for step in _STEPS[version:]:
        for statement in step:
            db.execute(statement)
    if version < VERSION:
        db.execute(f"PRAGMA user_version={VERSION}")
