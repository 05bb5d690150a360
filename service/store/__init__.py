"""The store behind a URL."""

from pathlib import Path

from service.store.base import Store
from service.store.sqlite import SqliteStore


def open_store(url: str, *, scores_keep_s: float = 3600.0) -> Store:
    """Open the store that `url` names: `sqlite:///absolute/path`. Raises ValueError for any other scheme."""
    scheme, _, path = url.partition("://")
    if scheme != "sqlite" or not path:
        raise ValueError(f"CAKE_STORE_URL must look like sqlite:///absolute/path, not {scheme}://…")
    return SqliteStore(Path(path), scores_keep_s=scores_keep_s)
