"""Pages of other sites must not act through the browser of somebody who may."""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from service.errors import OriginForbidden

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def check_origin(connection: HTTPConnection, allowed: Collection[str]) -> None:
    """WebSockets and what changes something: only for pages of this host and allowed ones. Programs send no Origin.

    Raises OriginForbidden.
    """
    origin = connection.headers.get("origin")
    if origin is None or connection.scope.get("method", "") in _SAFE_METHODS or origin in allowed:
        return
    host = connection.headers.get("host", "").lower()
    if origin.lower() not in (f"http://{host}", f"https://{host}"):
        raise OriginForbidden(f"Pages of {origin} may not do this; CAKE_ALLOWED_ORIGINS can allow them.")


def check_local(connection: HTTPConnection) -> None:
    """While keys are off only this machine is served, under its own names.

    A site whose name was made to lead here would otherwise be taken for a page of this host. Raises OriginForbidden.
    """
    host = connection.headers.get("host", "")
    if not _is_loopback(host):
        raise OriginForbidden(
            f"Without API keys this server answers to localhost, not to {host!r}. Make a key with `cake keys create`,"
            " or set CAKE_AUTH=off if a proxy in front asks who it is."
        )


def _is_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or name.endswith(".localhost") or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
