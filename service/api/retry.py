"""Start a session of a URL once more, with the secrets that the server keeps."""

import uuid

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from service.api.authentication import SessionsWriter
from service.api.context import SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.api.model_catalogue import loaded_models
from service.api.new_session import check_source, new_record, queue_session
from service.api.sessions import SessionId, session_response
from service.errors import NotRetryableError
from service.requests import RegionRequest, SessionOptions
from service.schemas import ENDED_STATES, Session
from service.store.records import SessionRecord
from service.store.webhook_records import StoredWebhook

router = APIRouter(tags=["sessions"], responses=problem_responses(*AUTH_STATUSES))


@router.post(
    "/v1/sessions/{session_id}/retry",
    summary="Submit a session of a URL again, with the same options",
    description="Creates a new session of the same URL, with the user, password and webhook secret of the ended "
    "session, which is kept.",
    status_code=202,
    response_model=Session,
    responses=problem_responses(404, 409, 422, 503, 507),
)
async def retry_session(context: SharedContext, caller: SessionsWriter, session_id: SessionId) -> JSONResponse:
    ended = await context.store.sessions.get(session_id, sight=caller.sight)
    if ended.source.kind != "url":
        raise NotRetryableError("Only sessions of a URL can be retried. Upload or push the video again.")
    if ended.state not in ENDED_STATES:
        raise NotRetryableError("The session has not ended. Stop it first.")
    # The operator may have forbidden the address since.
    check_source(ended.source.url.get_secret_value(), context.settings)
    models = await loaded_models(context.store)
    record = new_record(str(uuid.uuid4()), ended.source, _options(ended), models, context.settings)
    progress = await context.store.outbox.progress(ended.id)
    if progress is not None:
        # Its secret may have been replaced since the session was submitted.
        webhook = StoredWebhook(url=progress.webhook.url, secret=progress.webhook.secret)
        record = record.model_copy(update={"webhook": webhook})
    record = await queue_session(context, caller, record, None, "")
    context.audit.record("session.retry", caller.actor, session=record.id, of=ended.id)
    session = session_response(record, context.settings.root_path)
    return JSONResponse(session.model_dump(mode="json"), 202, headers={"Location": session.links.self})


def _options(record: SessionRecord) -> SessionOptions:
    return SessionOptions(
        model=record.model,
        labels=list(record.labels),
        rules=record.rules,
        regions=[RegionRequest(**region.model_dump()) for region in record.regions],
        pace=record.pace,
        name=record.name,
        metadata=record.metadata,
    )
