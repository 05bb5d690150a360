"""Whether a server may listen where it is bound to: nobody shall be let in from other machines by oversight."""

import ipaddress
import socket

from service.settings import Settings
from service.store import open_store


class Exposed(Exception):
    """Other machines could reach a server that asks for no key. The message says what to do."""


async def refuse_if_exposed(settings: Settings, listener: socket.socket) -> None:
    """Raises Exposed when CAKE_AUTH is `auto`, there is no key, and the address is not a loopback one.

    And StoreUnavailable when the store cannot say whether there is one.
    """
    address = listener.getsockname()[0]
    if settings.auth != "auto" or ipaddress.ip_address(address).is_loopback:
        return
    store = open_store(settings.resolved_store_url)
    try:
        if await store.has_keys():
            return
    finally:
        await store.close()
    raise Exposed(
        f"other machines could reach {address} and there is no API key. Make one with `cake keys create --name me"
        f" --scope admin --data-dir {settings.data_dir}`, or set CAKE_AUTH=off if you trust this network or a proxy"
        " in front asks who it is."
    )
