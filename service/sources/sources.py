"""Which sources may be opened, how they are opened, and how their URLs are shown."""

import re
import socket
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from model.video.source import LIVE_SCHEMES, SCHEME_PROTOCOLS
from service.sources.address_policy import AddressPolicy, IPAddress
from service.sources.stored import StoredPush, StoredSource, StoredUpload, StoredUrl

FORBIDDEN_ADDRESS = (
    "The source leads to an address that this server does not open, because it is not public. "
    "For a camera in a private network, ask the operator to add that network to CAKE_SOURCE_ALLOW."
)
_USERINFO_OR_QUERY = re.compile(
    r"(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.-]*://)(?:[^\s/?#\"'<>]*@)?(?P<rest>[^\s?#\"'<>]*)(?P<query>[?#][^\s\"'<>]*)?"
)


class SourceForbiddenError(Exception):
    """A source that this server does not open. `detail` says what is allowed."""

    code: Literal["source_forbidden"] = "source_forbidden"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True)
class OpenableSource:
    """A source that may be opened: a path or address, secrets included, and FFmpeg's options for it.

    A pushed stream has no address.
    """

    address: str | None = field(repr=False)
    options: dict[str, str] = field(repr=False)


def is_camera(source: StoredSource) -> bool:
    """Whether a source is live by the scheme of its URL, or because the caller says so."""
    if not isinstance(source, StoredUrl):
        return False
    return bool(source.live) or urlsplit(source.url.get_secret_value()).scheme.lower() in LIVE_SCHEMES


def openable(source: StoredSource, upload: Path, policy: AddressPolicy, authorities: Path) -> OpenableSource:
    """What to open for a session's source, checked again for each connection.

    `upload` is the path of an uploaded file, `authorities` a PEM file of the certificate authorities to trust.

    Raises SourceForbiddenError.
    """
    if isinstance(source, StoredUpload):
        return OpenableSource(str(upload.resolve()), {})
    if isinstance(source, StoredPush):
        return OpenableSource(None, {})
    url = source.url.get_secret_value()
    check_url(url, policy)
    scheme = urlsplit(url).scheme
    options = {"protocol_whitelist": SCHEME_PROTOCOLS[scheme], "tls_verify": "1", "ca_file": str(authorities)}
    if scheme == "rtsp":
        options["rtsp_transport"] = source.transport
    return OpenableSource(url, options)


def check_url(url: str, policy: AddressPolicy) -> None:
    """Reject a URL by its scheme, or by a host that is written as an address.

    A host name is resolved and checked at each connection of the decoder. Raises SourceForbiddenError.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise SourceForbiddenError("The address is not a valid URL. Give a complete URL.") from None
    if parts.scheme not in SCHEME_PROTOCOLS:
        allowed = ", ".join(sorted(SCHEME_PROTOCOLS))
        raise SourceForbiddenError(f"The URL scheme {parts.scheme!r} is not allowed. Use one of: {allowed}.")
    if not host:
        raise SourceForbiddenError("The URL has no host. Give a complete URL.")
    check_host(host, policy)


def check_host(host: str, policy: AddressPolicy) -> None:
    """Reject a host that is written as an address. Raises SourceForbiddenError."""
    address = _written_address(host)
    if address is not None and not policy.permits_source(address):
        raise SourceForbiddenError(FORBIDDEN_ADDRESS)


def _written_address(host: str) -> IPAddress | None:
    """The address that a host is written as, in any notation; None for a name."""
    host = host.removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):
        return IPv4Address("127.0.0.1")
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        # Also accepts 2130706433, 0x7f.1 and 0177.0.0.1, as resolvers do.
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def redact(text: str) -> str:
    """`text` with every URL in it reduced to scheme, host and path: no user, password, query or fragment."""
    return _USERINFO_OR_QUERY.sub(lambda url: url["scheme"] + url["rest"] + ("?…" if url["query"] else ""), text)
