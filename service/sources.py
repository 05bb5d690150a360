"""Which sources may be opened, how, and how they are shown."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from service.schemas import Source, UploadSource

ALLOWED_SCHEMES = frozenset({"http", "https"})

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
    """A source that may be opened: a path or address, secrets included, and FFmpeg's options for it."""

    address: str = field(repr=False)
    options: dict[str, str] = field(repr=False)


def openable(source: Source, upload: Path) -> OpenableSource:
    """What to open for a session's source, checked anew for each connection. `upload` is where an uploaded file lies.

    Raises SourceForbidden.
    """
    if isinstance(source, UploadSource):
        return OpenableSource(str(upload.resolve()), {})
    parts = urlsplit(source.url)
    if parts.scheme not in ALLOWED_SCHEMES:
        allowed = ", ".join(sorted(ALLOWED_SCHEMES))
        raise SourceForbidden(f"Sources of the scheme {parts.scheme!r} are not allowed. Use one of: {allowed}.")
    if not parts.hostname:
        raise SourceForbidden("The address names no host. Give a whole URL.")
    return OpenableSource(source.url, {"protocol_whitelist": "http,https,tls,tcp,crypto"})


def redact(text: str) -> str:
    """`text` with every URL in it cut down to scheme, host and path: no user, password, query or fragment."""
    return _USERINFO_OR_QUERY.sub(lambda url: url["scheme"] + url["rest"] + ("?…" if url["query"] else ""), text)
