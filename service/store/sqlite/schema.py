"""The tables of the SQLite store, their format and its additions."""

import sqlite3

from service.errors import StoreUnavailableError

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
_DELIVERIES = (
    "ALTER TABLE webhooks ADD COLUMN old_secret TEXT",
    "ALTER TABLE webhooks ADD COLUMN old_secret_until REAL NOT NULL DEFAULT 0",
    """CREATE TABLE deliveries (
        n INTEGER PRIMARY KEY AUTOINCREMENT,
        session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        event_id TEXT NOT NULL,
        at REAL NOT NULL,
        failure TEXT)""",
    "CREATE INDEX deliveries_by_session ON deliveries (session_id, n)",
)
_OWNERS = (
    # Not `owner`: version 0.1 joins the two tables and would find the name ambiguous.
    "ALTER TABLE events ADD COLUMN event_owner TEXT",
    "UPDATE events SET event_owner = coalesce((SELECT owner FROM sessions WHERE id = session_id), '')",
    "CREATE INDEX events_by_owner ON events (event_owner, cursor) WHERE event_owner <> ''",
    # Older versions do not set the column.
    """CREATE TRIGGER events_owner AFTER INSERT ON events WHEN NEW.event_owner IS NULL BEGIN
        UPDATE events SET event_owner = coalesce((SELECT owner FROM sessions WHERE id = NEW.session_id), '')
        WHERE cursor = NEW.cursor;
    END""",
)
_LAST_USED = ("ALTER TABLE keys ADD COLUMN last_used_at TEXT",)
_CONFINEMENT = ("ALTER TABLE workers ADD COLUMN confinement TEXT",)
_NEW_EVENT_FIELDS = ("ALTER TABLE events ADD COLUMN since_0_2 TEXT",)
_SUBSCRIPTIONS = (
    """CREATE TABLE subscriptions (
        n INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        key_id TEXT,
        record TEXT NOT NULL,
        state TEXT NOT NULL,
        revision INTEGER NOT NULL DEFAULT 0,
        progress TEXT NOT NULL)""",
)
_FEEDBACK = (
    """CREATE TABLE feedback (
        session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        id TEXT NOT NULL,
        record TEXT NOT NULL,
        PRIMARY KEY (session_id, id)) WITHOUT ROWID""",
)
_UPLOADED_MODELS = (
    "CREATE TABLE models (key TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID",
    "ALTER TABLE workers ADD COLUMN model_failures TEXT",
)
_SHADOWS = (
    """CREATE TABLE shadows (
        session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        key TEXT NOT NULL,
        id TEXT NOT NULL,
        record TEXT NOT NULL,
        PRIMARY KEY (session_id, id)) WITHOUT ROWID""",
    "CREATE INDEX shadows_by_key ON shadows (key)",
)
_STEPS = (_FIRST, _KEYS, _WEBHOOKS, _PUSH, _LIGHT_CHECKPOINTS, _WATCHED)
"""The statements that lead from each format to the next. Older versions refuse a newer format, so add no more of them
unless older versions cannot work with the change; never changed once released."""
FORMAT = len(_STEPS)
_ADDITIONS = (
    _DELIVERIES,
    _OWNERS,
    _LAST_USED,
    _CONFINEMENT,
    _NEW_EVENT_FIELDS,
    _SUBSCRIPTIONS,
    _FEEDBACK,
    _UPLOADED_MODELS,
    _SHADOWS,
)
"""Tables, columns and indexes that older versions do not notice, so that a data folder can be downgraded."""


def migrate(db: sqlite3.Connection) -> None:
    """Upgrade a new or older database, inside a write transaction.

    Raises:
        StoreUnavailableError: A newer version of CAKE wrote the database, in a format that this one does not know.
    """
    (found,) = db.execute("PRAGMA user_version").fetchone()
    if found > FORMAT:
        raise StoreUnavailableError(
            f"The database has format {found} but this CAKE supports {FORMAT}. Install a newer CAKE."
        )
    for step in _STEPS[found:]:
        for statement in step:
            db.execute(statement)
    if found < FORMAT:
        db.execute(f"PRAGMA user_version={FORMAT}")
    db.execute("CREATE TABLE IF NOT EXISTS additions (n INTEGER PRIMARY KEY)")
    (made,) = db.execute("SELECT coalesce(max(n), 0) FROM additions").fetchone()
    for n, addition in enumerate(_ADDITIONS[made:], start=made + 1):
        for statement in addition:
            db.execute(statement)
        db.execute("INSERT INTO additions VALUES (?)", (n,))
