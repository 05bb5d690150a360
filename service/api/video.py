"""Uploaded videos, as players read them: in parts."""

import mimetypes
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response
from starlette.responses import FileResponse, StreamingResponse

from service.access.sight import Sight
from service.api.authentication import SessionsReader, VideoViewer
from service.api.byte_range import ByteRange, requested_range
from service.api.context import Context, SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.api.sessions import SessionId
from service.api.tickets import new_video_ticket
from service.errors import NotFoundError
from service.server_schemas import VideoTicket
from service.sources.stored import StoredUpload

NOT_KEPT = "Only uploaded videos are kept. Other sources have clips of the actions that CAKE_CLIPS names."
UNKNOWN_TYPE = "application/octet-stream"
router = APIRouter(tags=["sessions"], responses=problem_responses(*AUTH_STATUSES))


def _described(description: str, *headers: str) -> dict[str, Any]:
    """A response with a part of a file, in OpenAPI."""
    meanings = {
        "Accept-Ranges": "Always `bytes`.",
        "ETag": "Pass as `If-Range`. It never changes.",
        "Content-Range": "Position of these bytes, and size of the file.",
    }
    file = {"schema": {"type": "string", "format": "binary"}}
    return {
        "description": description,
        "content": {"video/*": file, UNKNOWN_TYPE: file},
        "headers": {name: {"description": meanings[name], "schema": {"type": "string"}} for name in headers},
    }


@router.get(
    "/v1/sessions/{session_id}/video",
    summary="Get the uploaded video, or a part of it",
    description="The file as it was uploaded. `Range` may name one range of bytes; for several, the whole file is "
    "sent.",
    response_class=FileResponse,
    responses={
        200: _described("The whole file.", "Accept-Ranges", "ETag"),
        206: _described("The bytes that `Range` names.", "Accept-Ranges", "ETag", "Content-Range"),
        **problem_responses(404, 416, 422, 503),
    },
)
async def get_video(
    context: SharedContext,
    caller: VideoViewer,
    session_id: SessionId,
    wanted: Annotated[str | None, Header(alias="Range", description="Bytes to return, as `bytes=FIRST-LAST`.")] = None,
    if_range: Annotated[str | None, Header(description="An `ETag`. If it does not match, `Range` is ignored.")] = None,
) -> Response:
    source = await _uploaded(context, caller.sight, session_id)
    context.audit.record_view(caller.actor, session=session_id, what="video")
    size_bytes = await context.blobs.upload_bytes(session_id)
    # An upload never changes.
    etag = f'"{session_id}"'
    part = requested_range(wanted, size_bytes) if if_range in (None, etag) else None
    sent = part or ByteRange(0, size_bytes)
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-store",
        "Content-Length": str(sent.end - sent.first),
        "ETag": etag,
    }
    if part is not None:
        headers["Content-Range"] = part.content_range(size_bytes)
    return StreamingResponse(
        context.blobs.read_upload(session_id, sent.first, sent.end),
        200 if part is None else 206,
        headers,
        media_type=_media_type(source.filename),
    )


@router.post(
    "/v1/sessions/{session_id}/video/tickets",
    summary="Create a ticket with which a player reads the uploaded video for an hour, as `?ticket=`",
    description="The player of a browser cannot send an API key. While authentication is off, no ticket is required.",
    status_code=201,
    responses=problem_responses(404, 422, 503, 507),
)
async def create_video_ticket(
    context: SharedContext, caller: SessionsReader, session_id: SessionId, response: Response
) -> VideoTicket:
    await _uploaded(context, caller.sight, session_id)
    response.headers["Cache-Control"] = "no-store"
    return await new_video_ticket(context, caller, session_id)


async def _uploaded(context: Context, sight: Sight, session_id: str) -> StoredUpload:
    """The source of the session. Raises NotFoundError, StoreUnavailableError."""
    record = await context.store.sessions.get(session_id, sight=sight)
    if not isinstance(record.source, StoredUpload):
        raise NotFoundError(NOT_KEPT)
    return record.source


def _media_type(filename: str | None) -> str:
    """By the name that the client gave; never a type that a browser would show as a page."""
    guessed, _ = mimetypes.guess_type(filename or "")
    return guessed if guessed is not None and guessed.startswith("video/") else UNKNOWN_TYPE
