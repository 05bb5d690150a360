"""Feedback: whether an event was right, and which actions were missed."""

import uuid
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter
from fastapi import Path as PathParameter

from service.api.authentication import SessionsReader, SessionsWriter
from service.api.caller import Caller
from service.api.context import Context, SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.api.found_action import found_action
from service.api.json_body import JsonRoute
from service.api.sessions import SessionId
from service.errors import InvalidRequestError, UnknownLabelError
from service.event_schemas import EventId
from service.feedback import MAX_PER_SESSION, AddedMissedAction, EventVerdict, Feedback, MissedAction, SessionFeedback
from service.live.missed_clip import NOT_RUNNING, order_missed_clip
from service.schemas import ENDED_STATES
from service.store.records import SessionRecord

EventPath = Annotated[EventId, PathParameter(description="Id of an `action.start` or `action.end` of the session.")]
ENDED = "The session has ended, and nothing of its stream is in memory any more."
MissedPath = Annotated[str, PathParameter(description="Id of the missed action.", pattern="^missed-[0-9a-f]{32}$")]
router = APIRouter(route_class=JsonRoute, tags=["feedback"], responses=problem_responses(*AUTH_STATUSES))


@router.get(
    "/v1/sessions/{session_id}/feedback",
    summary="Read the feedback of a session",
    responses=problem_responses(404, 422, 503),
)
async def read_feedback(context: SharedContext, caller: SessionsReader, session_id: SessionId) -> SessionFeedback:
    record = await context.store.sessions.get(session_id, sight=caller.sight)
    context.audit.record_view(caller.actor, session=session_id, what="feedback")
    return SessionFeedback(feedback=await context.store.feedback.of_session(record.id))


@router.put(
    "/v1/sessions/{session_id}/events/{event_id}/feedback",
    summary="Say whether an event was right",
    description="Replaces earlier feedback of the event.",
    responses=problem_responses(404, 422, 503, 507),
)
async def judge_event(
    context: SharedContext, caller: SessionsWriter, session_id: SessionId, event_id: EventPath, verdict: EventVerdict
) -> Feedback:
    record = await context.store.sessions.get(session_id, sight=caller.sight)
    event = await found_action(context.store.log, record.id, event_id)
    feedback = Feedback(
        id=event.id,
        verdict=verdict.verdict,
        label=event.label,
        region=event.region,
        start_s=event.start_s,
        end_s=event.end_s if event.type == "action.end" else None,
        score=event.score,
        rules_hash=event.rules_hash,
        note=verdict.note,
        created_at=datetime.now(UTC),
        by=caller.actor.key_name,
    )
    await _keep(context, caller, record, feedback)
    return feedback


@router.delete(
    "/v1/sessions/{session_id}/events/{event_id}/feedback",
    summary="Withdraw the feedback of an event",
    status_code=204,
    responses=problem_responses(404, 422, 503),
)
async def withdraw_verdict(
    context: SharedContext, caller: SessionsWriter, session_id: SessionId, event_id: EventPath
) -> None:
    await _withdraw(context, caller, session_id, event_id)


@router.post(
    "/v1/sessions/{session_id}/feedback",
    summary="Add an action that was missed",
    description="Of a source that is not stored, a clip is kept if `CAKE_CLIPS` names the action and the stream"
    " since its start is still in memory (`CAKE_CLIP_MISSED_S`). `clip_problem` says why there is none.",
    status_code=201,
    responses=problem_responses(404, 422, 503, 507),
)
async def add_missed_action(
    context: SharedContext, caller: SessionsWriter, session_id: SessionId, missed: MissedAction
) -> AddedMissedAction:
    record = await context.store.sessions.get(session_id, sight=caller.sight)
    _check(missed, record)
    feedback = Feedback(
        id=f"missed-{uuid.uuid4().hex}",
        verdict="missed",
        score=None,
        rules_hash=None,
        created_at=datetime.now(UTC),
        by=caller.actor.key_name,
        **missed.model_dump(),
    )
    await _keep(context, caller, record, feedback)
    is_stored = record.source.kind == "upload"
    problem = None if is_stored else await _order_clip(context, record, feedback.id)
    return AddedMissedAction(**feedback.model_dump(), clip_problem=problem)


@router.delete(
    "/v1/sessions/{session_id}/feedback/{feedback_id}",
    summary="Remove a missed action",
    status_code=204,
    responses=problem_responses(404, 422, 503),
)
async def remove_missed_action(
    context: SharedContext, caller: SessionsWriter, session_id: SessionId, feedback_id: MissedPath
) -> None:
    await _withdraw(context, caller, session_id, feedback_id)
    await context.blobs.delete_clip(session_id, feedback_id)


async def _order_clip(context: Context, record: SessionRecord, missed_id: str) -> str | None:
    """Why there is no clip."""
    if record.state in ENDED_STATES:
        return ENDED
    worker = await context.store.workers.owner_of(record.id)
    if worker is None or worker.push is None:
        return NOT_RUNNING
    return await order_missed_clip(record.id, worker.push, missed_id)


def _check(missed: MissedAction, record: SessionRecord) -> None:
    """Raises UnknownLabelError, InvalidRequestError."""
    if missed.label not in record.score_labels:
        known = list(record.score_labels)
        raise UnknownLabelError(f"The session has no label {missed.label!r}. Known: {', '.join(known)}.", known=known)
    regions = [region.name for region in record.regions]
    if missed.region not in regions and (regions or missed.region is not None):
        names = ", ".join(regions)
        raise InvalidRequestError(
            f"`region` must be one of {names}." if regions else "`region` must be absent: the session has no regions."
        )
    if missed.end_s is not None and missed.end_s < missed.start_s:
        raise InvalidRequestError("`end_s` must not be before `start_s`.")


async def _keep(context: Context, caller: Caller, record: SessionRecord, feedback: Feedback) -> None:
    if not await context.store.feedback.put(record.id, feedback, max_kept=MAX_PER_SESSION):
        raise InvalidRequestError(
            f"The session has reached the limit of {MAX_PER_SESSION:,} entries of feedback. Delete some of them first."
        )
    context.metrics.feedback.labels(record.model, feedback.label, feedback.verdict).inc()
    context.audit.record("feedback.give", caller.actor, session=record.id, feedback=feedback.id)


async def _withdraw(context: Context, caller: Caller, session_id: str, feedback_id: str) -> None:
    record = await context.store.sessions.get(session_id, sight=caller.sight)
    await context.store.feedback.delete(record.id, feedback_id)
    context.audit.record("feedback.withdraw", caller.actor, session=record.id, feedback=feedback_id)
