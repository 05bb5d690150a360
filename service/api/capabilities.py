"""What this server can open, found from the FFmpeg that it has."""

import asyncio
from functools import cache

import av
import av.codec
from av.error import FFmpegError, ProtocolNotFoundError
from fastapi import APIRouter

from model.container import MAX_PIXELS
from service.api.caller import SessionsReader
from service.api.context import SharedContext
from service.api.problems import ASKS, problems
from service.schemas import Capabilities, SourceLimits
from service.sources import ALLOWED_SCHEMES

router = APIRouter(tags=["models"])
# FFmpeg reads these with a demuxer of their own, over these protocols.
_DEMUXED = {"rtsp": ("rtsp", "tcp"), "rtsps": ("rtsp", "tls")}


@router.get("/v1/capabilities", summary="What sources this server opens", responses=problems(*ASKS))
async def get_capabilities(context: SharedContext, _caller: SessionsReader) -> Capabilities:
    settings = context.settings
    schemes, codecs = await asyncio.to_thread(_schemes), await asyncio.to_thread(_video_codecs)
    limits = SourceLimits(
        max_upload_bytes=settings.max_upload_bytes,
        max_pixels=MAX_PIXELS,
        source_timeout_s=settings.source_timeout_s,
    )
    return Capabilities(schemes=list(schemes), video_codecs=list(codecs), limits=limits)


@cache
def _schemes() -> tuple[str, ...]:
    return tuple(sorted(filter(_has_scheme, ALLOWED_SCHEMES)))


def _has_scheme(scheme: str) -> bool:
    if scheme not in _DEMUXED:
        return _has_protocol(scheme)
    demuxer, protocol = _DEMUXED[scheme]
    return demuxer in av.formats_available and _has_protocol(protocol)


def _has_protocol(protocol: str) -> bool:
    """Ask FFmpeg to open an address that it is not allowed to: what it lacks, it misses first."""
    try:
        av.open(f"{protocol}://localhost", options={"protocol_whitelist": "file"}).close()
    except ProtocolNotFoundError:
        return False
    except FFmpegError:
        return True
    raise AssertionError(f"{protocol} was opened though it was not allowed")


@cache
def _video_codecs() -> tuple[str, ...]:
    return tuple(sorted(name for name in av.codecs_available if _is_video_decoder(name)))


def _is_video_decoder(name: str) -> bool:
    try:
        return av.codec.Codec(name, "r").type == "video"
    except av.codec.codec.UnknownCodecError:
        return False
