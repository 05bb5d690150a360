"""Clips and stills of events."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi import Path as PathParameter
from starlette.responses import FileResponse, Response

from model.video.errors import VideoError
from service.api.authentication import SessionsReader
from service.api.context import Context, SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.api.found_action import found_start
from service.api.sessions import SessionId
from service.decoder.cut import Cut, cut
from service.decoder.cut_protocol import CutRequest
from service.decoder.messages import DecoderDiedError
from service.errors import InternalError, NotFoundError, NotPlayableError, TooLargeError
from service.event_schemas import ActionStartEvent, EventId
from service.storage.stored_files import StoredClip
from service.store.records import SessionRecord

MAX_CLIP_BYTES = 128 * 1024**2
MAX_AROUND_S = 120.0
BEFORE_S, AFTER_S = 5.0, 10.0
NO_CLIP = (
    "There is no clip of this event. Uploaded videos always have clips; for other sources, the operator must list the"
    " action in CAKE_CLIPS before it starts. Clips are deleted by age and total size."
)
DAMAGED = "No clip can be cut here: the video is damaged."
EventPath = Annotated[EventId, PathParameter(description="Id of an `action.start` or `action.end` of the session.")]
router = APIRouter(tags=["events"], responses=problem_responses(*AUTH_STATUSES))


@router.get(
    "/v1/sessions/{session_id}/events/{event_id}/clip.mp4",
    summary="Get a clip of an action",
    description="A fragmented MP4 of the video from `before_s` before the action's start (5 if absent) until `after_s` "
    "after it (10 if absent); of a source that is not kept, that part of the stored clip, or all of it. Its frames are "
    "those of the video, so it begins at the keyframe before: `Clip-From-S` is the media time of its first frame. The "
    "problem `not_playable` says that browsers play no MP4 of this codec.",
    response_class=FileResponse,
    responses={
        200: {
            "content": {"video/mp4": {"schema": {"type": "string", "format": "binary"}}},
            "headers": {
                "Clip-From-S": {
                    "description": "Media time of the first frame, in seconds.",
                    "schema": {"type": "number"},
                }
            },
        },
        **problem_responses(404, 409, 413, 422, 503, 507),
    },
)
async def get_clip(
    context: SharedContext,
    caller: SessionsReader,
    session_id: SessionId,
    event_id: EventPath,
    before_s: Annotated[
        float | None,
        Query(ge=0, le=MAX_AROUND_S, allow_inf_nan=False, description="Seconds before the start, 5 by default."),
    ] = None,
    after_s: Annotated[
        float | None,
        Query(gt=0, le=MAX_AROUND_S, allow_inf_nan=False, description="Seconds after the start, 10 by default."),
    ] = None,
) -> Response:
    record = await context.store.sessions.get(session_id, owner=caller.owner)
    context.audit.record_view(caller.actor, session=session_id, what="video")
    start = await found_start(context.store.log, record.id, event_id)
    if record.source.kind != "upload" and before_s is None and after_s is None:
        clip = await _stored_clip(context, record, start.id)
        return _clip_response(Cut(await context.blobs.read_clip(clip), clip.from_s))
    from_s = start.start_s - (BEFORE_S if before_s is None else before_s)
    to_s = start.start_s + (AFTER_S if after_s is None else after_s)
    return _clip_response(await _cut(context, record, start, "clip", from_s, to_s))


def _clip_response(clip: Cut) -> Response:
    headers = {"Cache-Control": "no-store", "Clip-From-S": f"{clip.from_s:.3f}"}
    return Response(clip.data, media_type="video/mp4", headers=headers)


@router.get(
    "/v1/sessions/{session_id}/events/{event_id}/still.jpg",
    summary="Get the frame at which an action started",
    description="A JPEG image of the whole frame, no side longer than 1,280 pixels.",
    response_class=FileResponse,
    responses={
        200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
        **problem_responses(404, 409, 422, 503, 507),
    },
)
async def get_still(
    context: SharedContext, caller: SessionsReader, session_id: SessionId, event_id: EventPath
) -> Response:
    record = await context.store.sessions.get(session_id, owner=caller.owner)
    context.audit.record_view(caller.actor, session=session_id, what="video")
    start = await found_start(context.store.log, record.id, event_id)
    found = await _cut(context, record, start, "still", start.start_s, start.start_s)
    return Response(found.data, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


async def _stored_clip(context: Context, record: SessionRecord, event_id: str) -> StoredClip:
    """Raises NotFoundError, StoreUnavailableError."""
    clip = await context.blobs.find_clip(record.id, event_id)
    if clip is None:
        raise NotFoundError(NO_CLIP)
    return clip


async def _cut(
    context: Context,
    record: SessionRecord,
    start: ActionStartEvent,
    kind: Literal["clip", "still"],
    from_s: float,
    to_s: float,
) -> Cut:
    """Cut a part out of the upload, or out of the stored clip; times are those of the session.

    Raises NotFoundError, NotPlayableError, TooLargeError, InternalError, StoreUnavailableError, StorageFullError.
    """
    # Few at a time: each takes processor time, and holds its clip in memory.
    async with context.cuts:
        if record.source.kind == "upload":
            async with context.blobs.upload_copy(record.id) as path:
                return await _cut_file(
                    CutRequest(str(path), kind, max(0.0, from_s), to_s, record.source.stream, record.time_zero)
                )
        stored = await _stored_clip(context, record, start.id)
        async with context.blobs.clip_copy(stored) as path:
            begin_s = max(0.0, from_s - stored.from_s)
            found = await _cut_file(CutRequest(str(path), kind, begin_s, to_s - stored.from_s, None, "first_frame"))
        return Cut(found.data, stored.from_s + found.from_s)


async def _cut_file(request: CutRequest) -> Cut:
    """Raises NotFoundError, NotPlayableError, TooLargeError, InternalError."""
    try:
        return await cut(request, max_bytes=MAX_CLIP_BYTES)
    except VideoError as error:
        match error.code:
            case "limit_exceeded":
                raise TooLargeError(error.detail) from error
            case "decode_failed":
                raise NotFoundError(error.detail) from error
            case "internal":
                raise InternalError(error.detail) from error
        raise NotPlayableError(error.detail) from error
    except DecoderDiedError as error:
        raise NotPlayableError(DAMAGED) from error
