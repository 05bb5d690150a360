"""Resolves names to addresses that the policy permits; connections then use exactly the checked address."""

import asyncio
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address

from service.sources.address_policy import AddressPolicy, IPAddress
from service.sources.sources import FORBIDDEN_ADDRESS, SourceForbiddenError

MAX_LOOKUPS = 128
"""Look-ups at a time. One that gets no answer takes half a minute, and cannot be cancelled."""
_THREAD_NAME = "look-up of a name"


async def permitted_addresses(host: str, port: int, policy: AddressPolicy) -> Sequence[IPAddress]:
    """The permitted addresses of a host, at least one. Raises SourceForbiddenError, OSError."""
    addresses = await _look_up(host, port)
    permitted = [address for address in addresses if policy.permits_source(address)]
    if not permitted:
        raise SourceForbiddenError(FORBIDDEN_ADDRESS)
    return permitted


async def _look_up(host: str, port: int) -> Sequence[IPAddress]:
    """All addresses of a host. Raises OSError.

    The event loop has few threads for look-ups, and shares them with files: a few dead name servers would occupy all.
    """
    if sum(thread.name == _THREAD_NAME for thread in threading.enumerate()) >= MAX_LOOKUPS:
        raise OSError("too many names are being looked up; some name servers do not answer")
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[IPAddress]] = loop.create_future()

    def settle(addresses: Sequence[IPAddress], error: OSError | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(addresses)
        else:
            answer.set_exception(error)

    def work() -> None:
        addresses: Sequence[IPAddress] = ()
        failure: OSError | None = None
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = tuple(dict.fromkeys(ip_address(address[0]) for *_, address in found))
        except OSError as error:
            failure = error
        except ValueError as error:  # of which UnicodeError is one
            failure = OSError(f"the name cannot be encoded for DNS: {error}")
        # The loop may have been closed in the meantime.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, addresses, failure)

    threading.Thread(target=work, name=_THREAD_NAME, daemon=True).start()
    return await answer
