"""See, stop and delete sessions; their scores and their latest picture."""

import time
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from starlette.responses import FileResponse, Response

from service.api.caller import SessionsReader, SessionsWriter
from service.api.context import SharedContext
from service.api.problems import ASKS, problems
from service.errors import NotFound
from service.schemas import (
    ENDED_STATES,
    Cursor,
    Scores,
    Session,
    SessionLinks,
    SessionPage,
    SessionState,
    Source,
    WebhookInfo,
)
from service.sources import redact
from service.store.base import SessionRecord, WebhookTarget

router = APIRouter(tags=["sessions"], responses=problems(*ASKS))


@router.get("/v1/sessions", summary="Sessions, newest first", responses=problems(422, 503))
async def list_sessions(
    context: SharedContext,
    caller: SessionsReader,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[Cursor | None, Query(description="The `next` of the page before.")] = None,
    state: Annotated[SessionState | None, Query(description="Only sessions in this state.")] = None,
) -> SessionPage:
    records, following = await context.store.list_sessions(limit=limit, before=before, state=state, owner=caller.owner)
    return SessionPage(sessions=[session_answer(record) for record in records], next=following)


@router.get("/v1/sessions/{session_id}", summary="One session", responses=problems(404, 422, 503))
async def get_session(context: SharedContext, caller: SessionsReader, session_id: str) -> Session:
    return session_answer(await context.store.get_session(session_id, owner=caller.owner))


@router.delete(
    "/v1/sessions/{session_id}",
    summary="Stop a session; or delete it with all its data when it has ended",
    status_code=202,
    response_model=Session,
    responses={
        202: {"description": "It had not ended: it is asked to stop, or was stopped if it was waiting."},
        204: {"description": "It had ended: it is deleted."},
        **problems(404, 422, 503),
    },
)
async def stop_or_delete_session(context: SharedContext, caller: SessionsWriter, session_id: str) -> Response:
    if (await context.store.get_session(session_id, owner=caller.owner)).state not in ENDED_STATES:
        record = await context.store.request_stop(session_id)
        return JSONResponse(session_answer(record).model_dump(mode="json"), 202)
    await context.store.delete_session(session_id)
    await context.blobs.delete(session_id)
    return Response(status_code=204)


@router.get("/v1/sessions/{session_id}/scores", summary="Scores over time", responses=problems(404, 422, 503))
async def get_scores(
    context: SharedContext,
    caller: SessionsReader,
    session_id: str,
    after_s: Annotated[float | None, Query(description="Only frames after this media time.")] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> Scores:
    record = await context.store.get_session(session_id, owner=caller.owner)
    rows = await context.store.read_scores(session_id, after_s=after_s, limit=limit)
    return Scores(
        labels=list(record.labels), pts_s=[row.pts_s for row in rows], scores=[list(row.scores) for row in rows]
    )


@router.get(
    "/v1/sessions/{session_id}/snapshot.jpg",
    summary="The latest picture of a session",
    description="At most five seconds old; while it is asked for again and again, half a second.",
    response_class=FileResponse,
    responses={200: {"content": {"image/jpeg": {}}}, **problems(404, 422, 503)},
)
async def get_snapshot(context: SharedContext, caller: SessionsReader, session_id: str) -> Response:
    # The id is that of a session here, hence no path that a client made up.
    record = await context.store.get_session(session_id, owner=caller.owner)
    if context.viewers.is_news(record.id, time.monotonic()):
        await context.store.watch(record.id)
    picture = await context.blobs.snapshot(record.id)
    if picture is None:
        raise NotFound("There is no picture of this session yet; ask again when it runs.")
    return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


def session_answer(record: SessionRecord, *, tell_secret: bool = False) -> Session:
    """The session as callers see it: secrets of its URLs left out, and that of its webhook unless it is to be told."""
    path = f"/v1/sessions/{record.id}"
    return Session(
        id=record.id,
        state=record.state,
        code=record.code,
        detail=record.detail,
        warnings=list(record.warnings),
        source=_shown(record.source),
        model=record.model,
        labels=list(record.labels),
        pace=record.pace,
        name=record.name,
        webhook=None if record.webhook is None else _shown_webhook(record.webhook, tell_secret),
        created_at=record.created_at,
        started_at=record.started_at,
        ended_at=record.ended_at,
        video=record.video,
        position_s=record.position_s,
        frames=record.frames,
        links=SessionLinks(
            self=path,
            events=f"{path}/events",
            scores=f"{path}/scores",
            snapshot=f"{path}/snapshot.jpg",
            ingest=f"{path}/stream" if record.source.kind == "push" else None,
        ),
    )


def _shown(source: Source) -> Source:
    return source.model_copy(update={"url": redact(source.url)}) if source.kind == "url" else source


def _shown_webhook(target: WebhookTarget, tell_secret: bool) -> WebhookInfo:
    return WebhookInfo(url=redact(target.url), secret=target.secret if tell_secret else None)
