"""Asks the FFmpeg of this installation what it can open and decode."""

from functools import cache

import av
import av.codec
from av.codec.codec import Capabilities
from av.error import FFmpegError, ProtocolNotFoundError

from model.video.container import VIDEO_FORMATS
from model.video.source import SCHEME_PROTOCOLS

# FFmpeg reads these schemes with a separate demuxer, over these protocols.
_DEMUXED = {"rtsp": ("rtsp", "tcp"), "rtsps": ("rtsp", "tls")}


@cache
def supported_schemes() -> tuple[str, ...]:
    """The schemes of addresses that it can open, sorted."""
    return tuple(sorted(filter(_has_scheme, SCHEME_PROTOCOLS)))


def _has_scheme(scheme: str) -> bool:
    if scheme not in _DEMUXED:
        return _has_protocol(scheme)
    demuxer, protocol = _DEMUXED[scheme]
    return demuxer in av.formats_available and _has_protocol(protocol)


def _has_protocol(protocol: str) -> bool:
    """Let FFmpeg open an address that is not allowed: it reports a missing protocol before a forbidden one."""
    try:
        av.open(f"{protocol}://localhost", options={"protocol_whitelist": "file"}).close()
    except ProtocolNotFoundError:
        return False
    except FFmpegError:
        return True
    raise AssertionError(f"FFmpeg opened {protocol} although it is not on the whitelist")


@cache
def supported_video_codecs() -> tuple[str, ...]:
    """What can be decoded in software; decoders of graphics cards are never used."""
    found = map(_video_decoder, av.codecs_available)
    never = Capabilities.hardware | Capabilities.hybrid | Capabilities.experimental
    return tuple(
        sorted({codec.canonical_name for codec in found if codec is not None and not codec.capabilities & never})
    )


def _video_decoder(name: str) -> av.codec.Codec | None:
    try:
        codec = av.codec.Codec(name, "r")
    except av.codec.codec.UnknownCodecError:
        return None
    return codec if codec.type == "video" else None


@cache
def supported_file_formats() -> tuple[str, ...]:
    """The containers that FFmpeg has, by each of their names: one demuxer reads MP4, MOV and 3GP."""
    demuxers = [name.split(",") for name in av.formats_available]
    return tuple(sorted({name for names in demuxers if set(names) & set(VIDEO_FORMATS) for name in names}))
