"""Refuses to listen to other machines without authentication, unless that was requested."""

import socket

from service.listening import is_loopback
from service.settings import Settings
from service.store import open_store


class ExposedError(Exception):
    """Other machines could reach a server that requires no key. The message says what to do."""


async def refuse_if_exposed(settings: Settings, listener: socket.socket) -> None:
    """Raise ExposedError if CAKE_AUTH is `auto`, no key exists and the address is not a loopback address.

    Raises StoreUnavailableError if the store cannot be opened, or cannot tell whether a key exists.
    """
    if settings.identifies_people:
        return
    store = open_store(settings.resolved_store_url)
    try:
        if settings.auth != "auto" or is_loopback(listener) or await store.keys.exist():
            return
    finally:
        await store.close()
    address = listener.getsockname()[0]
    raise ExposedError(
        f"other machines can reach {address}, and no API key exists. Create one with `cake keys create --name me"
        f" --scope admin --data-dir {settings.data_dir.resolve()}`, or set CAKE_AUTH=off if you trust this network or"
        " a proxy authenticates clients."
    )
