"""Clips and stills of events."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi import Path as PathParameter
from starlette.responses import FileResponse, Response

from service.api.authentication import SessionsReader
from service.api.context import SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.api.found_action import found_start
from service.api.sessions import SessionId
from service.decoder.cut import Cut
from service.event_schemas import EventId

MAX_AROUND_S = 120.0
BEFORE_S, AFTER_S = 5.0, 10.0
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
    record = await context.store.sessions.get(session_id, sight=caller.sight)
    context.audit.record_view(caller.actor, session=session_id, what="video")
    start = await found_start(context.store.log, record.id, event_id)
    if record.source.kind != "upload" and before_s is None and after_s is None:
        clip = await context.cuts.stored_clip(record.id, start.id)
        return _clip_response(Cut(await context.blobs.read_clip(clip), clip.from_s))
    from_s = start.start_s - (BEFORE_S if before_s is None else before_s)
    to_s = start.start_s + (AFTER_S if after_s is None else after_s)
    return _clip_response(await context.cuts.cut(record, start.id, "clip", from_s, to_s, client=caller.client))


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
    record = await context.store.sessions.get(session_id, sight=caller.sight)
    context.audit.record_view(caller.actor, session=session_id, what="video")
    start = await found_start(context.store.log, record.id, event_id)
    jpeg = await context.cuts.still(record, start, client=caller.client)
    return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": "no-store"})
