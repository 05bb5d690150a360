"""Clips and stills of events."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi import Path as PathParameter
from starlette.responses import FileResponse, Response

from service.api.authentication import SessionsReader
from service.api.context import SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.api.feedback import MissedPath
from service.api.found_action import found_start
from service.api.sessions import SessionId
from service.decoder.cut import Cut
from service.errors import NotFoundError
from service.event_schemas import EventId

MAX_AROUND_S = 120.0
BEFORE_S, AFTER_S = 5.0, 10.0
NOT_MISSED = "The session has no such missed action."
NO_CLIP_OF_MISSED = (
    "There is no clip of this missed action. Of a source that is not stored, one is kept if CAKE_CLIPS names the action"
    " and it was reported within CAKE_CLIP_MISSED_S. The clip may also not be complete yet, or deleted by age or size."
)
EventPath = Annotated[EventId, PathParameter(description="Id of an `action.start` or `action.end` of the session.")]
BeforeS = Annotated[
    float | None,
    Query(ge=0, le=MAX_AROUND_S, allow_inf_nan=False, description="Seconds before the start, 5 by default."),
]
AfterS = Annotated[
    float | None,
    Query(gt=0, le=MAX_AROUND_S, allow_inf_nan=False, description="Seconds after the start, 10 by default."),
]
CLIP_RESPONSES: dict[int | str, dict[str, Any]] = {
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
}
router = APIRouter(tags=["events"], responses=problem_responses(*AUTH_STATUSES))


@router.get(
    "/v1/sessions/{session_id}/events/{event_id}/clip.mp4",
    summary="Get a clip of an action",
    description="A fragmented MP4 of the video from `before_s` before the action's start (5 if absent) until `after_s` "
    "after it (10 if absent); for a source that is not stored, that part of the stored clip, or all of it. Frames are "
    "not encoded again, so it begins at the preceding keyframe: `Clip-From-S` is the media time of its first frame. "
    "The problem `not_playable` means that browsers cannot play this codec in MP4.",
    response_class=FileResponse,
    responses=CLIP_RESPONSES,
)
async def get_clip(
    context: SharedContext,
    caller: SessionsReader,
    session_id: SessionId,
    event_id: EventPath,
    before_s: BeforeS = None,
    after_s: AfterS = None,
) -> Response:
    record = await context.store.sessions.get(session_id, sight=caller.sight)
    context.audit.record_view(caller.actor, session=session_id, what="video")
    start = await found_start(context.store.log, record.id, event_id)
    stored = await context.cuts.stored_clip(record, start)
    if stored is not None and before_s is None and after_s is None:
        return _clip_response(Cut(await context.blobs.read_clip(stored), stored.from_s))
    from_s, to_s = _span_s(start.start_s, before_s, after_s)
    return _clip_response(await context.cuts.cut(record, stored, "clip", from_s, to_s, client=caller.client))


@router.get(
    "/v1/sessions/{session_id}/feedback/{feedback_id}/clip.mp4",
    summary="Get a clip of a missed action",
    description="Like the clip of an action. Of a source that is not stored, there is one if its stream was still in "
    "memory when the action was reported.",
    response_class=FileResponse,
    responses=CLIP_RESPONSES,
)
async def get_clip_of_missed_action(
    context: SharedContext,
    caller: SessionsReader,
    session_id: SessionId,
    feedback_id: MissedPath,
    before_s: BeforeS = None,
    after_s: AfterS = None,
) -> Response:
    record = await context.store.sessions.get(session_id, sight=caller.sight)
    context.audit.record_view(caller.actor, session=session_id, what="video")
    missed = [each for each in await context.store.feedback.of_session(record.id) if each.id == feedback_id]
    if not missed:
        raise NotFoundError(NOT_MISSED)
    stored = None
    if record.source.kind != "upload":
        stored = await context.blobs.find_clip(record.id, feedback_id)
        if stored is None:
            raise NotFoundError(NO_CLIP_OF_MISSED)
        if before_s is None and after_s is None:
            return _clip_response(Cut(await context.blobs.read_clip(stored), stored.from_s))
    from_s, to_s = _span_s(missed[0].start_s, before_s, after_s)
    return _clip_response(await context.cuts.cut(record, stored, "clip", from_s, to_s, client=caller.client))


def _span_s(start_s: float, before_s: float | None, after_s: float | None) -> tuple[float, float]:
    """From when to when a clip is requested."""
    return start_s - (BEFORE_S if before_s is None else before_s), start_s + (AFTER_S if after_s is None else after_s)


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
