"""The source of a video: the path of a file, an address, or a stream of bytes."""

from typing import Protocol, TypeGuard

_WEB = "http,https,tls,tcp,crypto"
SCHEME_PROTOCOLS = {
    "http": _WEB,
    "https": _WEB,
    # A camera may redirect to another address of its scheme.
    "rtsp": "rtsp,tcp,udp,rtp",
    "rtsps": "rtsps,tls,tcp",
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,tls,tcp",
    "srt": "srt",
}
"""The schemes of addresses that can be opened, and the protocols that FFmpeg may use for each."""
LIVE_SCHEMES = frozenset(SCHEME_PROTOCOLS) - {"http", "https"}
"""Sources with these schemes are live, whatever the stream says about itself. The others may be files or cameras."""


class ByteStream(Protocol):
    """A video that arrives as bytes, from beginning to end. Exceptions of `read` pass through the decoder to its
    caller.
    """

    def read(self, max_bytes: int, /) -> bytes:
        """Return at least one byte, or none at the end of the video."""


def is_url(source: str | ByteStream) -> TypeGuard[str]:
    """Return whether a source is an address rather than a path."""
    return isinstance(source, str) and "://" in source


def scheme_of(source: str | ByteStream) -> str:
    """Return the scheme of an address in lower case, or an empty string for a path or a stream of bytes."""
    return source.partition("://")[0].lower() if is_url(source) else ""
