"""Opens the store that a URL names."""

import math
from collections.abc import Callable
from pathlib import Path

from service.store.protocols import Store
from service.store.sqlite.store import open_sqlite_store
from service.store_url import REDIS_SCHEMES, check_store_url, sqlite_file


def database_bytes(url: str) -> float:
    """Size of an SQLite database and its write-ahead log; NaN for Redis, which has its own metrics."""
    database = sqlite_file(url)
    if database is None:
        return math.nan
    files = (database, Path(f"{database}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def open_store(
    url: str, *, scores_keep_s: float = 3600.0, count_unreadable: Callable[[str], None] = lambda kind: None
) -> Store:
    """Open the store at `url`: `sqlite:///absolute/path`, or a Redis address as `redis.connect` describes.

    Args:
        url: Address of the store.
        scores_keep_s: Media time of scores that is kept for each session.
        count_unreadable: Called with the kind of each row that this version cannot read.

    Raises:
        StoreUrlError: The URL is not the address of a store.
        StoreUnavailableError: The database is damaged, or a newer version of CAKE wrote it.
    """
    check_store_url(url)
    scheme, _, path = url.partition("://")
    if scheme in REDIS_SCHEMES:
        from service.store.redis.store import open_redis_store

        return open_redis_store(url, scores_keep_s=scores_keep_s, count_unreadable=count_unreadable)
    return open_sqlite_store(Path(path), scores_keep_s=scores_keep_s, count_unreadable=count_unreadable)
