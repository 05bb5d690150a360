"""List, get, stop and delete sessions; get their scores and their latest snapshot."""

import time
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse
from starlette.responses import FileResponse, Response

from service.api.authentication import SessionsReader, SessionsWriter
from service.api.context import SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.api.json_body import JsonRoute
from service.api.score_bins import read_highest_scores
from service.api.session_change import settings_change
from service.api.session_parameters import WantedSessions
from service.errors import InvalidRequestError, NotFoundError
from service.event_schemas import Cursor
from service.problems import FieldError
from service.requests import SessionChange
from service.schemas import (
    ENDED_STATES,
    PushSource,
    Scores,
    Session,
    SessionLinks,
    SessionPage,
    SessionState,
    Source,
    UploadSource,
    UrlSource,
    WebhookInfo,
)
from service.sources.sources import redact
from service.sources.stored import StoredPush, StoredSource, StoredUpload, StoredUrl
from service.storage.deletion import delete_session
from service.store.records import SessionRecord
from service.store.state_log import log_stopped
from service.store.webhook_records import StoredWebhook

SessionId = Annotated[str, PathParameter(description="Id of the session.")]
router = APIRouter(route_class=JsonRoute, tags=["sessions"], responses=problem_responses(*AUTH_STATUSES))


@router.get("/v1/sessions", summary="List sessions, newest first", responses=problem_responses(422, 503))
async def list_sessions(
    context: SharedContext,
    caller: SessionsReader,
    wanted: WantedSessions,
    limit: Annotated[int, Query(ge=1, le=200, description="Largest number of sessions to return.")] = 50,
    before: Annotated[Cursor | None, Query(description="The `next` of the previous page.")] = None,
    state: Annotated[SessionState | None, Query(description="Only sessions in this state.")] = None,
) -> SessionPage:
    context.audit.record_view(caller.actor, session="all", what="sessions")
    records, following = await context.store.sessions.page(
        limit=limit, before=before, state=state, wanted=wanted, sight=caller.sight
    )
    return SessionPage(
        sessions=[session_response(record, context.settings.root_path) for record in records], next=following
    )


@router.get("/v1/sessions/{session_id}", summary="Get a session", responses=problem_responses(404, 422, 503))
async def get_session(context: SharedContext, caller: SessionsReader, session_id: SessionId) -> Session:
    record = await context.store.sessions.get(session_id, sight=caller.sight)
    context.audit.record_view(caller.actor, session=session_id, what="session")
    return session_response(record, context.settings.root_path)


@router.patch(
    "/v1/sessions/{session_id}",
    summary="Change the rules, labels, model version, name or metadata of a session",
    description="The worker applies a change within a second, between two frames, and publishes it as the event "
    "`session.changed`; later events follow the change. Only name and metadata of an ended session can change; its "
    "events stay as they are.",
    responses=problem_responses(404, 409, 422, 503, 507),
)
async def change_session(
    context: SharedContext, caller: SessionsWriter, session_id: SessionId, change: SessionChange
) -> Session:
    record = await context.store.sessions.get(session_id, sight=caller.sight)
    record = await context.store.sessions.change(
        session_id, await settings_change(context, caller.sight, record, change)
    )
    context.audit.record("session.change", caller.actor, session=session_id)
    return session_response(record, context.settings.root_path)


@router.delete(
    "/v1/sessions/{session_id}",
    summary="Stop a session, or delete an ended session with all its data",
    status_code=202,
    response_model=Session,
    responses={
        202: {"description": "The session had not ended: it was stopped, or will stop shortly."},
        204: {"description": "The session had ended: it was deleted."},
        **problem_responses(404, 422, 503),
    },
)
async def stop_or_delete_session(context: SharedContext, caller: SessionsWriter, session_id: SessionId) -> Response:
    if (await context.store.sessions.get(session_id, sight=caller.sight)).state not in ENDED_STATES:
        record = await context.store.sessions.request_stop(session_id)
        context.audit.record("session.stop", caller.actor, session=session_id)
        log_stopped([record])
        return JSONResponse(session_response(record, context.settings.root_path).model_dump(mode="json"), 202)
    await delete_session(context.store.sessions, context.blobs, session_id)
    context.audit.record("session.delete", caller.actor, session=session_id)
    return Response(status_code=204)


@router.get(
    "/v1/sessions/{session_id}/scores", summary="Get the scores over time", responses=problem_responses(404, 422, 503)
)
async def get_scores(
    context: SharedContext,
    caller: SessionsReader,
    session_id: SessionId,
    after_s: Annotated[
        float | None, Query(allow_inf_nan=False, description="Only frames after this media time, in seconds.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=10_000, description="Largest number of frames to return.")] = 1000,
    bin_s: Annotated[
        float | None,
        Query(
            ge=0.01,
            le=86_400,
            allow_inf_nan=False,
            description="Instead of each frame, return the highest scores of parts of this length in seconds, each at "
            "the time of its last frame. At most 100,000 frames are read; for the rest, send another request with "
            "`after_s`.",
        ),
    ] = None,
    region: Annotated[str | None, Query(description="Name of a region. Default: the first, if there are any.")] = None,
) -> Scores:
    record = await context.store.sessions.get(session_id, sight=caller.sight)
    number, name = _region_of(record, region)
    context.audit.record_view(caller.actor, session=session_id, what="scores")
    log = context.store.log
    if bin_s is None:
        rows = await log.read_scores(session_id, after_s=after_s, limit=limit)
    else:
        rows = await read_highest_scores(log, session_id, after_s=after_s, bin_s=bin_s, limit=limit)
    labels = list(record.score_labels)
    return Scores(
        region=name,
        labels=labels,
        pts_s=[row.pts_s for row in rows],
        scores=[_with_all_columns(row.of_stream(number, record.streams), len(labels)) for row in rows],
    )


def _with_all_columns(scores: Sequence[float], columns: int) -> list[float | None]:
    """Rows from before the last labels were added are shorter."""
    return [*scores, *[None] * (columns - len(scores))]


def _region_of(record: SessionRecord, asked: str | None) -> tuple[int, str | None]:
    """The number and name of a region; of the first if `asked` is None. Raises InvalidRequestError."""
    names = [region.name for region in record.regions]
    if asked is None:
        return 0, next(iter(names), None)
    if asked not in names:
        message = f"is not a region of this session; it has {', '.join(names) or 'none'}"
        raise InvalidRequestError(f"region: {message}.", errors=[FieldError(field="region", message=message)])
    return names.index(asked), asked


@router.get(
    "/v1/sessions/{session_id}/snapshot.jpg",
    summary="Get the latest snapshot of a session",
    description="A JPEG image, at most five seconds old; half a second while clients watch.",
    response_class=FileResponse,
    responses={
        200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
        **problem_responses(404, 422, 503),
    },
)
async def get_snapshot(
    context: SharedContext,
    caller: SessionsReader,
    session_id: SessionId,
    watch: Annotated[
        bool,
        Query(
            description="Whether the worker makes more snapshots for this client. With `false` there is one every five "
            "seconds: enough for an overview of many sessions, and it costs the worker nothing."
        ),
    ] = True,
) -> Response:
    # The id is that of an existing session, so it cannot be a path that the client made up.
    record = await context.store.sessions.get(session_id, sight=caller.sight)
    context.audit.record_view(caller.actor, session=record.id, what="snapshot")
    if watch and context.watchers.is_notice_due(record.id, time.monotonic()):
        await context.store.sessions.watch(record.id)
    snapshot = await context.blobs.snapshot(record.id)
    if snapshot is None:
        raise NotFoundError("The session has no snapshot yet. Retry once it is running.")
    return Response(snapshot, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


def session_response(record: SessionRecord, root_path: str, *, with_secret: bool = False) -> Session:
    """The session as clients see it: without the secrets of its URLs, and with that of its webhook if `with_secret`."""
    path = f"{root_path}/v1/sessions/{record.id}"
    return Session(
        id=record.id,
        state=record.state,
        code=record.code,
        detail=record.detail,
        warnings=list(record.warnings),
        source=_public_source(record.source),
        model=record.model,
        model_version=record.model_version,
        labels=list(record.labels),
        regions=list(record.regions),
        rules=record.rules,
        start_rules=record.start_rules,
        pace=record.pace,
        name=record.name,
        metadata=record.metadata,
        webhook=None if record.webhook is None else _public_webhook(record.webhook, with_secret),
        created_at=record.created_at,
        started_at=record.started_at,
        ended_at=record.ended_at,
        video=record.video,
        position_s=record.position_s,
        frames=record.frames,
        last_frame_at=record.last_frame_at,
        links=SessionLinks(
            self=path,
            events=f"{path}/events",
            scores=f"{path}/scores",
            snapshot=f"{path}/snapshot.jpg",
            stream=f"{path}/stream" if record.source.kind == "push" else None,
            video=f"{path}/video" if record.source.kind == "upload" else None,
            live=f"{path}/live" if _may_be_live(record) else None,
        ),
    )


def _may_be_live(record: SessionRecord) -> bool:
    return record.source.kind != "upload" and (record.video is None or record.video.live)


def _public_source(source: StoredSource) -> Source:
    """The source without the secrets of its URL."""
    match source:
        case StoredUpload():
            return UploadSource(filename=source.filename, stream=source.stream)
        case StoredUrl():
            url = redact(source.url.get_secret_value())
            return UrlSource(
                url=url,
                stream=source.stream,
                transport=source.transport,
                max_down_s=source.max_down_s,
                live=source.live,
            )
        case StoredPush():
            return PushSource(stream=source.stream, max_down_s=source.max_down_s)


def _public_webhook(target: StoredWebhook, with_secret: bool) -> WebhookInfo:
    url = redact(target.url.get_secret_value())
    return WebhookInfo(url=url, secret=target.secret.get_secret_value() if with_secret else None)
