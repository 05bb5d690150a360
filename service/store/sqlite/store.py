"""The embedded store: one SQLite file in WAL mode, shared by the server and its workers."""

import time
from collections.abc import Callable
from pathlib import Path

from service.store.protocols import Store
from service.store.reading import Reader
from service.store.sqlite.database import Database
from service.store.sqlite.feedback import SqliteFeedback
from service.store.sqlite.keys import SqliteKeys
from service.store.sqlite.log import SqliteLog
from service.store.sqlite.models import SqliteModels
from service.store.sqlite.outbox import SqliteOutbox
from service.store.sqlite.sessions import SqliteSessions
from service.store.sqlite.shadows import SqliteShadows
from service.store.sqlite.subscriptions import SqliteSubscriptions
from service.store.sqlite.workers import SqliteWorkers


def open_sqlite_store(
    path: Path,
    *,
    scores_keep_s: float = 3600.0,
    events_keep_s: float = 7 * 24 * 3600.0,
    events_max: int = 10_000,
    trim_every: int = 200,
    clock: Callable[[], float] = time.monotonic,
    count_unreadable: Callable[[str], None] = lambda kind: None,
) -> Store:
    """Open the database at `path`, or create it. Blocks: for start-up only.

    Args:
        path: The database file; its folder is created, for its owner only.
        scores_keep_s: Media time of scores that is kept for each session.
        events_keep_s: Media time of events that is kept for each running session.
        events_max: Events that are kept for each running session, and about `trim_every` more.
        trim_every: Events are trimmed once per so many of them.
        clock: Times the leases, see `Database`.
        count_unreadable: Called with the kind of each row that this version cannot read.

    Raises:
        StoreUnavailableError: It is damaged, or a newer version of CAKE wrote it.
    """
    database = Database(path, clock, Reader(count_unreadable))
    return Store(
        sessions=SqliteSessions(database),
        workers=SqliteWorkers(database),
        log=SqliteLog(
            database,
            scores_keep_s=scores_keep_s,
            events_keep_s=events_keep_s,
            events_max=events_max,
            trim_every=trim_every,
        ),
        keys=SqliteKeys(database),
        outbox=SqliteOutbox(database),
        feedback=SqliteFeedback(database),
        models=SqliteModels(database),
        shadows=SqliteShadows(database),
        subscriptions=SqliteSubscriptions(database),
        close=database.close,
    )
