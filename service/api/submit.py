"""Submit a session: as JSON, with a URL or a push source, or as an upload."""

import codecs
import hashlib
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from service.api.authentication import SessionsWriter
from service.api.caller import Caller
from service.api.context import Context, SharedContext
from service.api.error_responses import AUTH_STATUSES, invalid_request, problem_responses
from service.api.json_body import json_of
from service.api.limits import check_capacity
from service.api.model_catalogue import loaded_models
from service.api.new_session import new_record, queue_session, stored_source
from service.api.reauthorization import require_authorized
from service.api.request_body import body_of
from service.api.sessions import session_response
from service.errors import StoreUnavailableError, UnsupportedMediaTypeError
from service.requests import SessionRequest, UploadOptions
from service.schemas import Session
from service.server_schemas import ModelInfo
from service.sources.stored import StoredUpload
from service.storage.uploads import MAX_FRAMING_BYTES, MAX_OPTIONS_BYTES, Upload, receive_upload, too_large
from service.store.records import KeyUsage, SessionRecord

router = APIRouter(tags=["sessions"], responses=problem_responses(*AUTH_STATUSES))
JSON, MULTIPART = "application/json", "multipart/form-data"
_JSON_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {"$ref": "#/components/schemas/SessionRequest"},
                "example": {"source": {"url": "https://example.org/clip.mp4"}, "pace": "realtime"},
            },
        },
    }
}
_UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            MULTIPART: {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "The video."},
                        "session": {"$ref": "#/components/schemas/UploadOptions"},
                    },
                },
                "encoding": {"session": {"contentType": JSON}},
            },
        },
    }
}
_QUEUED = {
    "description": "The session is queued.",
    "headers": {"Location": {"schema": {"type": "string"}, "description": "Address of the session."}},
}
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        description="Makes retries safe: a repeated key with the same body returns the session of the first request.",
    ),
]


@router.post(
    "/v1/sessions",
    summary="Submit a session with a URL or a push source",
    description="Also accepts an upload, as `POST /v1/uploads` does.",
    status_code=202,
    response_model=Session,
    responses={202: _QUEUED, **problem_responses(408, 409, 413, 415, 422, 503, 507)},
    openapi_extra=_JSON_BODY,
)
async def create_session(
    request: Request, context: SharedContext, caller: SessionsWriter, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    models = await loaded_models(context.store)
    match _media_type(request):
        case "application/json":
            record = await _submit_json(request, context, caller, models, idempotency_key)
        case "multipart/form-data":
            record = await _submit_upload(request, context, caller, models, idempotency_key)
        case _:
            raise UnsupportedMediaTypeError(f"Send `{JSON}` with a source, or `{MULTIPART}` with a file.")
    return _queued(context, caller, record)


@router.post(
    "/v1/uploads",
    summary="Submit a session with an uploaded video",
    # A separate operation, since generated clients support one media type per operation.
    status_code=202,
    response_model=Session,
    responses={202: _QUEUED, **problem_responses(408, 409, 413, 415, 422, 503, 507)},
    openapi_extra=_UPLOAD_BODY,
)
async def upload_session(
    request: Request, context: SharedContext, caller: SessionsWriter, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    if _media_type(request) != MULTIPART:
        raise UnsupportedMediaTypeError(f"Send `{MULTIPART}` with a file.")
    models = await loaded_models(context.store)
    return _queued(context, caller, await _submit_upload(request, context, caller, models, idempotency_key))


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _queued(context: Context, caller: Caller, record: SessionRecord) -> JSONResponse:
    context.audit.record("session.submit", caller.actor, session=record.id, name=record.name, source=record.source.kind)
    session = session_response(record, context.settings.root_path, with_secret=True)
    return JSONResponse(session.model_dump(mode="json"), 202, headers={"Location": session.links.self})


async def _submit_json(
    request: Request,
    context: Context,
    caller: Caller,
    models: Mapping[str, ModelInfo],
    idempotency_key: str | None,
) -> SessionRecord:
    body = await json_of(request)
    await require_authorized(context, caller)
    try:
        asked = SessionRequest.model_validate_json(body)
    except ValidationError as error:
        raise invalid_request(error) from error
    source = stored_source(asked.source, context.settings)
    record = new_record(str(uuid.uuid4()), source, asked, models, context.settings)
    return await queue_session(context, caller, record, idempotency_key, hashlib.sha256(body).hexdigest())


async def _submit_upload(
    request: Request,
    context: Context,
    caller: Caller,
    models: Mapping[str, ModelInfo],
    idempotency_key: str | None,
) -> SessionRecord:
    settings = context.settings
    max_body_bytes = settings.max_upload_bytes + MAX_OPTIONS_BYTES + MAX_FRAMING_BYTES
    length = request.headers.get("content-length", "")
    declared_bytes = int(length) if length.isdecimal() else 0
    if declared_bytes > max_body_bytes:
        raise too_large(settings.max_upload_bytes)
    # A retry may be answered with the session of the first request, so it does not count as a further session.
    makes_session = idempotency_key is None
    load = await context.store.workers.load() if makes_session else None
    used = KeyUsage(0, 0) if caller.key is None else await context.store.keys.usage(caller.key.id)
    session_id = str(uuid.uuid4())
    arriving = context.blobs.arriving_path(session_id)
    # Nothing is awaited between the checks and the reservation, so uploads that begin together see each other.
    context.disk.require_room(declared_bytes + context.uploads.awaited_bytes)
    if load is not None:
        check_capacity(load, settings, models.values(), uploading=context.uploads.sessions)
    with context.uploads.reserved(caller.key, used, declared_bytes, makes_session=makes_session) as reserve:
        upload = await receive_upload(
            _counted(body_of(request, max_bytes=max_body_bytes), context, reserve),
            request.headers["content-type"],
            arriving,
            context.disk,
            max_bytes=settings.max_upload_bytes,
        )
        return await _queue_upload(context, caller, models, idempotency_key, session_id, upload)


async def _queue_upload(
    context: Context,
    caller: Caller,
    models: Mapping[str, ModelInfo],
    idempotency_key: str | None,
    session_id: str,
    upload: Upload,
) -> SessionRecord:
    """Turn a received upload into a session, or remove it."""
    settings = context.settings
    arriving = context.blobs.arriving_path(session_id)
    is_kept = False
    try:
        await require_authorized(context, caller)
        asked = UploadOptions.model_validate_json(upload.options_json.removeprefix(codecs.BOM_UTF8) or b"{}")
        source = StoredUpload(filename=upload.filename, stream=asked.source.stream)
        record = new_record(session_id, source, asked, models, settings)
        record = record.model_copy(update={"upload_bytes": arriving.stat().st_size})
        # Store the file before the session: a worker may claim the session at once.
        await context.blobs.keep_upload(session_id)
        is_kept = True
        queued = await queue_session(context, caller, record, idempotency_key, upload.digest)
    except Exception as error:
        arriving.unlink(missing_ok=True)
        # When the store fails, the session may exist nevertheless. If it does not, the sweep deletes the file.
        if not (is_kept and isinstance(error, StoreUnavailableError)):
            with suppress(StoreUnavailableError):
                await context.blobs.delete(session_id)
        if isinstance(error, ValidationError):
            raise invalid_request(error) from error
        raise
    if queued.id != session_id:
        await context.blobs.delete(session_id)
    return queued


async def _counted(
    body: AsyncIterator[bytes], context: Context, reserve: Callable[[int], None]
) -> AsyncIterator[bytes]:
    """Count the bytes that arrive. Raises StorageLimitError when they exceed the quota, even if fewer were declared."""
    received_bytes = 0
    async for chunk in body:
        received_bytes += len(chunk)
        context.metrics.upload_bytes.inc(len(chunk))
        reserve(received_bytes)
        yield chunk
