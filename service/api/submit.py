"""Submit a video: by URL or to be pushed, in JSON, or as an upload."""

import hashlib
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from service.api.body import body_of
from service.api.caller import Caller, SessionsWriter
from service.api.context import Context, SharedContext
from service.api.models import loaded_models
from service.api.problems import ASKS, invalid, problems
from service.api.sessions import session_answer
from service.errors import (
    SourceNotAllowed,
    StorageLimit,
    StoreUnavailable,
    TooLarge,
    UnknownLabel,
    UnknownModel,
    UnsupportedMediaType,
)
from service.requests import SessionOptions, SessionRequest, SourceRequest, WebhookRequest
from service.schemas import ModelInfo, Pace, PushSource, Session, Source, UploadSource, UrlSource
from service.settings import Settings
from service.sources import SourceForbidden, check_url, is_camera
from service.store.base import SessionRecord, WebhookTarget
from service.store.keys import STORAGE_RETRY_AFTER_S
from service.tracing import current_traceparent
from service.uploads import MAX_OPTIONS_BYTES, receive_upload, too_large
from service.webhooks.signature import new_secret

router = APIRouter(tags=["sessions"], responses=problems(*ASKS))
_MULTIPART = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "format": "binary", "description": "The video."},
        "session": {"$ref": "#/components/schemas/SessionOptions"},
    },
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/SessionRequest"},
                "example": {"source": {"url": "https://example.org/clip.mp4"}, "pace": "realtime"},
            },
            "multipart/form-data": {"schema": _MULTIPART, "encoding": {"session": {"contentType": "application/json"}}},
        },
    }
}
_LOCATION = {"Location": {"schema": {"type": "string"}, "description": "Path of the session."}}


@router.post(
    "/v1/sessions",
    summary="Submit a video: a URL or a push as JSON, or an upload as multipart/form-data",
    status_code=202,
    response_model=Session,
    responses={
        202: {"description": "The session is queued.", "headers": _LOCATION},
        **problems(408, 409, 413, 415, 422, 503, 507),
    },
    openapi_extra=_BODY,
)
async def submit(
    request: Request,
    context: SharedContext,
    caller: SessionsWriter,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=255, description="Repeating a key and its body has no effect."),
    ] = None,
) -> JSONResponse:
    models = await loaded_models(context.store)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json":
        record = await _submit_json(request, context, caller, models, idempotency_key)
    elif media_type == "multipart/form-data":
        record = await _submit_upload(request, context, caller, models, idempotency_key)
    else:
        raise UnsupportedMediaType("Send application/json with a source, or multipart/form-data with a file.")
    session = session_answer(record, tell_secret=True)
    return JSONResponse(session.model_dump(mode="json"), 202, headers={"Location": session.links.self})


async def _submit_json(
    request: Request,
    context: Context,
    caller: Caller,
    models: Mapping[str, ModelInfo],
    idempotency_key: str | None,
) -> SessionRecord:
    body = bytearray()
    async for chunk in body_of(request):
        body += chunk
        if len(body) > MAX_OPTIONS_BYTES:
            raise TooLarge(f"The JSON body may have {MAX_OPTIONS_BYTES} bytes.")
    try:
        asked = SessionRequest.model_validate_json(bytes(body))
    except ValidationError as error:
        raise invalid(error) from error
    source = _source(asked.source, context.settings)
    record = _new_record(str(uuid.uuid4()), source, asked, models, context.settings)
    return await _queue(context, caller, record, idempotency_key, hashlib.sha256(body).hexdigest())


async def _submit_upload(
    request: Request,
    context: Context,
    caller: Caller,
    models: Mapping[str, ModelInfo],
    idempotency_key: str | None,
) -> SessionRecord:
    settings = context.settings
    announced_bytes = request.headers.get("content-length", "")
    if announced_bytes.isdecimal() and int(announced_bytes) > settings.max_upload_bytes + MAX_OPTIONS_BYTES:
        raise too_large(settings.max_upload_bytes)
    room_bytes = await _room_bytes(context, caller)
    session_id = str(uuid.uuid4())
    arriving = settings.uploads_dir / f"{session_id}.part"
    upload = await receive_upload(
        _counted(body_of(request), context, room_bytes),
        request.headers["content-type"],
        arriving,
        max_bytes=settings.max_upload_bytes,
    )
    try:
        asked = SessionOptions.model_validate_json(upload.options_json or b"{}")
        record = _new_record(session_id, UploadSource(filename=upload.filename), asked, models, settings)
        record = record.model_copy(update={"upload_bytes": arriving.stat().st_size})
        # The file comes first: a worker may claim the session at once.
        await context.blobs.keep_upload(session_id, arriving)
        queued = await _queue(context, caller, record, idempotency_key, upload.digest)
    except Exception as error:
        arriving.unlink(missing_ok=True)
        with suppress(StoreUnavailable):
            await context.blobs.delete(session_id)
        if isinstance(error, ValidationError):
            raise invalid(error) from error
        raise
    if queued.id != session_id:
        await context.blobs.delete(session_id)
    return queued


async def _room_bytes(context: Context, caller: Caller) -> float:
    """What the caller's key may still store."""
    if caller.key is None:
        return float("inf")
    used = await context.store.key_usage(caller.key.id)
    return caller.key.limits.max_stored_bytes - used.stored_bytes


async def _counted(body: AsyncIterator[bytes], context: Context, room_bytes: float) -> AsyncIterator[bytes]:
    """Raises StorageLimit once more has come than there is room for, whatever was announced."""
    received_bytes = 0
    async for chunk in body:
        received_bytes += len(chunk)
        context.metrics.upload_bytes.inc(len(chunk))
        if received_bytes > room_bytes + MAX_OPTIONS_BYTES:
            raise StorageLimit(
                f"This key has room for {max(0, int(room_bytes))} bytes of uploads; delete sessions that have ended.",
                retry_after_s=STORAGE_RETRY_AFTER_S,
            )
        yield chunk


async def _queue(
    context: Context, caller: Caller, record: SessionRecord, idempotency_key: str | None, digest: str
) -> SessionRecord:
    if caller.key is not None:
        record = record.model_copy(update={"owner": caller.key.id})
    return await context.store.create_session(
        record,
        limits=None if caller.key is None else caller.key.limits,
        max_queued=context.settings.max_queued_sessions,
        may_wait=context.settings.queue_beyond_capacity,
        idempotency_key=idempotency_key,
        digest=digest,
    )


def _source(asked: SourceRequest, settings: Settings) -> Source:
    """Raises SourceNotAllowed."""
    if asked.url is None:
        return PushSource(max_down_s=asked.max_down_s)
    _check(str(asked.url), settings)
    return UrlSource(url=str(asked.url), transport=asked.transport, max_down_s=asked.max_down_s)


def _new_record(
    session_id: str, source: Source, asked: SessionOptions, models: Mapping[str, ModelInfo], settings: Settings
) -> SessionRecord:
    """Raises UnknownModel, UnknownLabel. A realtime session costs its sampling rate, a fast one a small fixed share."""
    name = settings.default_model if asked.model is None else asked.model
    if name not in models:
        raise UnknownModel(f"There is no model {name!r}; see `known`.", known=sorted(models))
    model = models[name]
    unknown = set(asked.labels or ()) - set(model.labels)
    if unknown:
        names = ", ".join(sorted(unknown))
        raise UnknownLabel(f"The model {name!r} does not know {names}; see `known`.", known=list(model.labels))
    pace: Pace = "realtime" if is_camera(source) else asked.pace
    return SessionRecord(
        id=session_id,
        source=source,
        model=name,
        model_version=model.version,
        labels=tuple(dict.fromkeys(asked.labels or model.labels)),
        pace=pace,
        cost_steps_per_s=model.sample_hz if pace == "realtime" else settings.fast_session_steps_per_s,
        created_at=datetime.now(UTC),
        name=asked.name,
        traceparent=current_traceparent(),
        webhook=None if asked.webhook is None else _webhook(asked.webhook, settings),
    )


def _webhook(asked: WebhookRequest, settings: Settings) -> WebhookTarget:
    _check(str(asked.url), settings)
    return WebhookTarget(url=str(asked.url), secret=asked.secret or new_secret())


def _check(url: str, settings: Settings) -> None:
    """Raises SourceNotAllowed."""
    try:
        check_url(url, settings.address_policy)
    except SourceForbidden as error:
        raise SourceNotAllowed(error.detail) from error
