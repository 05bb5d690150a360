"""Which sources may be opened, how, and how they are shown."""

import re
import socket
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from service.confinement.address_policy import AddressPolicy, IPAddress
from service.schemas import PushSource, Source, UploadSource

FORBIDDEN_ADDRESS = (
    "The source leads to an address that this server does not open. "
    "If it is a camera in a private network, let the operator allow that network in CAKE_SOURCE_ALLOW."
)
_WEB = "http,https,tls,tcp,crypto"
# What FFmpeg may use to follow an address of a scheme; the keys are all that is allowed.
_PROTOCOLS = {
    "http": _WEB,
    "https": _WEB,
    "rtsp": "tcp,udp,rtp",
    "rtsps": "tls,tcp",
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,tls,tcp",
    "srt": "srt",
}
ALLOWED_SCHEMES = frozenset(_PROTOCOLS)
CAMERA_SCHEMES = ALLOWED_SCHEMES - {"http", "https"}
"""What is live whatever it shows. Behind the others may be files and cameras."""

_USERINFO_OR_QUERY = re.compile(
    r"(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.-]*://)(?:[^\s/?#\"'<>]*@)?(?P<rest>[^\s?#\"'<>]*)(?P<query>[?#][^\s\"'<>]*)?"
)


class SourceForbidden(Exception):
    """A source that this server does not open. `detail` says what is allowed."""

    code: Literal["source_forbidden"] = "source_forbidden"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True)
class OpenableSource:
    """A source that may be opened: a path or address, secrets included, and FFmpeg's options for it.

    A pushed one has no address: it comes by itself.
    """

    address: str | None = field(repr=False)
    options: dict[str, str] = field(repr=False)


def is_camera(source: Source) -> bool:
    """Whether a source is live by its address alone."""
    return source.kind == "url" and urlsplit(source.url).scheme.lower() in CAMERA_SCHEMES


def openable(source: Source, upload: Path, policy: AddressPolicy, authorities: Path) -> OpenableSource:
    """What to open for a session's source, checked anew for each connection. `upload` is where an uploaded file lies.

    `authorities`: a PEM file of those who may vouch for its certificate.

    Raises SourceForbidden.
    """
    if isinstance(source, UploadSource):
        return OpenableSource(str(upload.resolve()), {})
    if isinstance(source, PushSource):
        return OpenableSource(None, {})
    check_url(source.url, policy)
    scheme = urlsplit(source.url).scheme
    options = {"protocol_whitelist": _PROTOCOLS[scheme], "tls_verify": "1", "ca_file": str(authorities)}
    if scheme == "rtsp":
        options["rtsp_transport"] = source.transport
    return OpenableSource(source.url, options)


def check_url(url: str, policy: AddressPolicy) -> None:
    """Refuse early what can be told from the URL alone: its scheme, and a host that is written as an address.

    What a name stands for is judged when the decoder connects, and each time anew. Raises SourceForbidden.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise SourceForbidden("The address is not a URL. Give a whole URL.") from None
    if parts.scheme not in ALLOWED_SCHEMES:
        allowed = ", ".join(sorted(ALLOWED_SCHEMES))
        raise SourceForbidden(f"Sources of the scheme {parts.scheme!r} are not allowed. Use one of: {allowed}.")
    if not host:
        raise SourceForbidden("The address names no host. Give a whole URL.")
    address = _written_address(host)
    if address is not None and not policy.permits_source(address):
        raise SourceForbidden(FORBIDDEN_ADDRESS)


def _written_address(host: str) -> IPAddress | None:
    """The address that a host is, however written; None for a name."""
    host = host.removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):
        return IPv4Address("127.0.0.1")
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        # Also takes 2130706433, 0x7f.1 and 0177.0.0.1, as resolvers do.
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def redact(text: str) -> str:
    """`text` with every URL in it cut down to scheme, host and path: no user, password, query or fragment."""
    return _USERINFO_OR_QUERY.sub(lambda url: url["scheme"] + url["rest"] + ("?…" if url["query"] else ""), text)
