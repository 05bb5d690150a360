"""What this server can do: the models of its workers, and the sources that its FFmpeg opens."""

import asyncio
from collections.abc import Mapping
from functools import cache
from pathlib import Path

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
from service.errors import NotReadyError
from service.server_schemas import Capabilities, ModelInfo, ModelList, SourceLimits
from service.settings import Settings
from service.store.protocols import Workers
from service.store.worker_records import WorkerInfo

router = APIRouter(tags=["models"])
SHIPPED_DEFAULT = "people"
# FFmpeg reads these schemes with a separate demuxer, over these protocols.
_DEMUXED = {"rtsp": ("rtsp", "tcp"), "rtsps": ("rtsp", "tls")}


async def ready_workers(workers: Workers) -> list[WorkerInfo]:
    """The live workers, at least one. Raises NotReadyError while none is registered."""
    live = await workers.live()
    if not live:
        raise NotReadyError("No worker is ready yet. Retry in a few seconds.", retry_after_s=2)
    return live


async def loaded_models(workers: Workers) -> dict[str, ModelInfo]:
    """The models that the live workers have loaded, by name. Raises NotReadyError while no worker is registered."""
    return {model.name: model for worker in await ready_workers(workers) for model in worker.models}


def default_model(models: Mapping[str, ModelInfo], settings: Settings) -> str:
    """The model of sessions that do not name one. `models` are those that are loaded, at least one."""
    if settings.default_model is not None:
        return settings.default_model
    preferred = [Path(model).name for model in settings.models] or [SHIPPED_DEFAULT]
    return next((name for name in preferred if name in models), min(models))


@router.get("/v1/models", summary="List the available models", responses=problem_responses(*AUTH_STATUSES, 503))
async def list_models(context: SharedContext, _caller: SessionsReader) -> ModelList:
    models = await loaded_models(context.store.workers)
    return ModelList(default=default_model(models, context.settings), models=[models[name] for name in sorted(models)])


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
    return Capabilities(schemes=list(schemes), file_formats=list(formats), video_codecs=list(codecs), limits=limits)


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
