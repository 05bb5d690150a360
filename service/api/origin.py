"""Protection against web pages of other sites that act through a browser, by origin, host name and address."""

import ipaddress
import re
from collections.abc import Collection

from starlette.requests import HTTPConnection

from service.errors import HostForbiddenError, OriginForbiddenError

_HOST = re.compile(r"(?:\[([0-9A-Za-z:.%]+)\]|([^\[\]:@/?#\\]*))(?::[0-9]*)?")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def check_origin(connection: HTTPConnection, allowed: Collection[str]) -> None:
    """Accept WebSockets and unsafe methods only from pages of this host and of allowed origins.

    Programs send no Origin and are accepted. Raises OriginForbiddenError.
    """
    origin = connection.headers.get("origin")
    if origin is None or connection.scope.get("method", "") in _SAFE_METHODS or origin in allowed:
        return
    host = connection.headers.get("host", "").lower()
    if origin.lower() not in (f"http://{host}", f"https://{host}"):
        raise OriginForbiddenError(
            f"Requests from pages of {origin} are not allowed. Operators allow origins with CAKE_ALLOWED_ORIGINS."
        )


def check_host(connection: HTTPConnection, allowed: Collection[str]) -> None:
    """Accept requests only under `allowed` host names, localhost, and IP addresses.

    Otherwise a site could point its own DNS name to this server's address, and a browser would let its pages read the
    responses (DNS rebinding). Raises HostForbiddenError.
    """
    host = connection.headers.get("host", "")
    name = _host_name(host)
    if (
        not _is_localhost(name)
        and _address(name) is None
        and name not in {allowed_name.lower() for allowed_name in allowed}
    ):
        raise HostForbiddenError(
            f"This server does not answer requests for the host {host[:100]!r}. The operator can add the host to"
            " CAKE_ALLOWED_HOSTS."
        )


def check_local(connection: HTTPConnection) -> None:
    """Without API keys, serve only clients on this machine, and only under its loopback names.

    Raises OriginForbiddenError.
    """
    host = connection.headers.get("host", "")
    name = _host_name(host)
    client = _address("" if connection.client is None else connection.client.host)
    if client is None or not client.is_loopback:
        raise OriginForbiddenError(
            "Without API keys this server only answers clients on its own machine. Create a key with"
            " `cake keys create`, or set CAKE_AUTH=off if a proxy authenticates the clients."
        )
    address = _address(name)
    if not _is_localhost(name) and (address is None or not address.is_loopback):
        raise OriginForbiddenError(
            f"Without API keys this server only answers requests to localhost, not to {host[:100]!r}. Create a key with"
            " `cake keys create`, or set CAKE_AUTH=off if a proxy authenticates the clients."
        )


def _host_name(host: str) -> str:
    """The name or address in a Host header, in lower case; empty if the header is malformed."""
    found = _HOST.fullmatch(host)
    return "" if found is None else str(found[1] or found[2]).lower()


def _is_localhost(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
