"""The store behind a URL."""

from pathlib import Path

from service.store.base import Store
from service.store.redis import RedisStore
from service.store.redis_connect import SCHEMES, connect
from service.store.sqlite import SqliteStore


class StoreUrlInvalid(ValueError):
    """CAKE_STORE_URL names no store."""


def check_store_url(url: str) -> None:
    """Raises StoreUrlInvalid for what `open_store` would refuse."""
    scheme, _, path = url.partition("://")
    if scheme in SCHEMES:
        try:
            connect(url)
        except ValueError as error:
            raise StoreUrlInvalid(f"CAKE_STORE_URL: {error}.") from error
    elif scheme != "sqlite" or not path:
        raise StoreUrlInvalid(
            f"CAKE_STORE_URL must look like sqlite:///absolute/path or redis://host:port/0, not {scheme}://…"
        )


def open_store(url: str, *, scores_keep_s: float = 3600.0) -> Store:
    """Open the store that `url` names: `sqlite:///absolute/path`, or Redis as `redis_connect.connect` says.

    Raises StoreUrlInvalid.
    """
    check_store_url(url)
    scheme, _, path = url.partition("://")
    if scheme in SCHEMES:
        return RedisStore(url, scores_keep_s=scores_keep_s)
    return SqliteStore(Path(path), scores_keep_s=scores_keep_s)
