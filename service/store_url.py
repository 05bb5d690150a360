"""What a store is called: the URLs that `service.store` opens. It imports no store."""

from pathlib import Path

REDIS_SCHEMES = ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")


class StoreUrlError(ValueError):
    """CAKE_STORE_URL is not the address of a store."""


def check_store_url(url: str) -> None:
    """Raise StoreUrlError for a URL that `open_store` would reject."""
    scheme, _, path = url.partition("://")
    if scheme in REDIS_SCHEMES:
        # Most servers need no Redis, and importing it takes a tenth of their start.
        from service.store.redis.connect import connect

        try:
            connect(url)
        except ValueError as error:
            raise StoreUrlError(f"CAKE_STORE_URL: {error}.") from error
    elif scheme != "sqlite" or not path:
        raise StoreUrlError(
            f"CAKE_STORE_URL must look like sqlite:///absolute/path or redis://host:port/0, not {scheme}://…"
        )


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite store, or None for another store."""
    scheme, _, path = url.partition("://")
    return Path(path) if scheme == "sqlite" else None
