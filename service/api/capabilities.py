"""What this server can do: the sources that its FFmpeg opens, and their limits."""

import asyncio

from fastapi import APIRouter

from service.api.authentication import SessionsReader
from service.api.context import SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.server_schemas import Capabilities, SourceLimits
from service.settings import Settings

router = APIRouter(tags=["models"])


@router.get(
    "/v1/capabilities",
    summary="List the source schemes, file formats, video codecs and limits of this server",
    responses=problem_responses(*AUTH_STATUSES),
)
async def get_capabilities(context: SharedContext, _caller: SessionsReader) -> Capabilities:
    return await asyncio.to_thread(_capabilities, context.settings)


def _capabilities(settings: Settings) -> Capabilities:
    # The server needs FFmpeg for nothing else: decoders are processes of their own.
    from model.video.container import MAX_PIXELS
    from model.video.support import supported_file_formats, supported_schemes, supported_video_codecs

    limits = SourceLimits(
        max_upload_bytes=settings.max_upload_bytes,
        max_pixels=MAX_PIXELS,
        source_timeout_s=settings.source_timeout_s,
    )
    return Capabilities(
        schemes=list(supported_schemes()),
        file_formats=list(supported_file_formats()),
        video_codecs=list(supported_video_codecs()),
        limits=limits,
        camera_discovery=bool(settings.source_allow),
    )
