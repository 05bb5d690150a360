"""What this server can do: the sources that its FFmpeg opens, and their limits."""

import asyncio
from functools import cache

import av
import av.codec
from av.codec.codec import Capabilities as Capability
from av.error import FFmpegError, ProtocolNotFoundError
from fastapi import APIRouter

from model.video.container import MAX_PIXELS, VIDEO_FORMATS
from model.video.source import SCHEME_PROTOCOLS
from service.api.authentication import SessionsReader
from service.api.context import SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.server_schemas import Capabilities, SourceLimits

router = APIRouter(tags=["models"])
# FFmpeg reads these schemes with a separate demuxer, over these protocols.
_DEMUXED = {"rtsp": ("rtsp", "tcp"), "rtsps": ("rtsp", "tls")}


@router.get(
    "/v1/capabilities",
    summary="List the source schemes, file formats, video codecs and limits of this server",
    responses=problem_responses(*AUTH_STATUSES),
)
async def get_capabilities(context: SharedContext, _caller: SessionsReader) -> Capabilities:
    settings = context.settings
    schemes, codecs = await asyncio.to_thread(_schemes), await asyncio.to_thread(_video_codecs)
    formats = await asyncio.to_thread(_file_formats)
    limits = SourceLimits(
        max_upload_bytes=settings.max_upload_bytes,
        max_pixels=MAX_PIXELS,
        source_timeout_s=settings.source_timeout_s,
    )
    return Capabilities(
        schemes=list(schemes),
        file_formats=list(formats),
        video_codecs=list(codecs),
        limits=limits,
        camera_discovery=bool(settings.source_allow),
    )


@cache
def _schemes() -> tuple[str, ...]:
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
def _video_codecs() -> tuple[str, ...]:
    """What can be decoded in software; decoders of graphics cards are never used."""
    found = map(_video_decoder, av.codecs_available)
    never = Capability.hardware | Capability.hybrid | Capability.experimental
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
def _file_formats() -> tuple[str, ...]:
    """The containers that FFmpeg has, by each of their names: one demuxer reads MP4, MOV and 3GP."""
    demuxers = [name.split(",") for name in av.formats_available]
    return tuple(sorted({name for names in demuxers if set(names) & set(VIDEO_FORMATS) for name in names}))
