"""Protection against web pages of other sites that act through a browser, by origin, host name and address."""

import ipaddress
import re
from collections.abc import Collection
from urllib.parse import urlsplit

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


def check_own_page(connection: HTTPConnection, public_url: str | None, *, must_name_origin: bool) -> None:
    """Accept what a browser adds an identity to by itself only from this server's own pages.

    Unlike an API key, a cookie is sent with the requests of any page that the browser lets send it. Own is the origin
    of `public_url`, or else of the Host header; origins that may use the API with a key are not. With
    `must_name_origin`, WebSockets and unsafe methods without an Origin are refused, too: every browser sends one.

    Raises OriginForbiddenError.
    """
    origin = connection.headers.get("origin")
    is_safe = connection.scope.get("method", "") in _SAFE_METHODS
    site, mode = connection.headers.get("sec-fetch-site"), connection.headers.get("sec-fetch-mode")
    if origin is None:
        is_own = not must_name_origin if not is_safe else site in (None, "same-origin", "none") or mode == "navigate"
    elif public_url is not None:
        url = urlsplit(public_url)
        is_own = origin.lower() == f"{url.scheme}://{url.netloc}".lower()
    else:
        host = connection.headers.get("host", "").lower()
        is_own = origin.lower() in (f"http://{host}", f"https://{host}")
    if not is_own:
        raise OriginForbiddenError(
            "People who are signed in can use this server only on its own pages. Other pages and programs must send an"
            " API key."
        )


def is_in(address: str | None, networks: Collection[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    """Whether an address is in one of the networks; False for anything but an address."""
    found = _address(address or "")
    return found is not None and any(found in network for network in networks)


def check_host_header(connection: HTTPConnection, allowed: Collection[str]) -> None:
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
