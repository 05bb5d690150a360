"""Models: list, describe, upload and delete them while the workers run."""

import asyncio
import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathParameter
from pydantic import AfterValidator

from model.checkpoints.folders import CheckpointNotFoundError, find_checkpoint
from service.api.authentication import Administrator, SessionsReader
from service.api.caller import Caller
from service.api.context import Context, SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.api.model_catalogue import (
    configured_models,
    configured_names,
    default_model,
    frames_of,
    loaded_models,
    shadow_of,
    versions_of,
)
from service.api.reauthorization import require_authorized
from service.api.request_body import body_of
from service.errors import InvalidRequestError, ModelConfiguredError, ModelLimitError, NotFoundError, StorageFullError
from service.server_schemas import ModelDetail, ModelInfo, ModelList, ModelOnWorker, ModelShadow
from service.storage.model_archive import MAX_SMALL_BYTES, model_in, read_model
from service.storage.model_bucket import read_checkpoint
from service.storage.model_files import CARD_FILE
from service.store.model_records import UploadedModel
from service.store.worker_records import WorkerInfo

router = APIRouter(tags=["models"], responses=problem_responses(*AUTH_STATUSES))
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"


def _with_possible_name(name: str) -> str:
    """Raises ValueError."""
    if not re.fullmatch(_NAME, name):
        raise ValueError("must have 1 to 64 letters, digits, `_`, `.` and `-`, and begin with a letter or digit")
    return name


ModelName = Annotated[
    str,
    PathParameter(
        json_schema_extra={"pattern": f"^{_NAME}$"},
        description="Name of the model: letters, digits, `_`, `.` and `-`, beginning with a letter or digit.",
    ),
    AfterValidator(_with_possible_name),
]
AnyName = Annotated[str, PathParameter(description="Name of the model.")]
_WRITE_BYTES = 1024**2
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_ARCHIVE = {"requestBody": {"content": {"application/octet-stream": _BINARY}}}


@router.get("/v1/models", summary="List the available models", responses=problem_responses(503))
async def list_models(context: SharedContext, _caller: SessionsReader) -> ModelList:
    models = await loaded_models(context.store)
    return ModelList(default=default_model(models, context.settings), models=[models[name] for name in sorted(models)])


@router.get(
    "/v1/models/{name}",
    summary="Get a model, its card, and the workers that have it",
    responses=problem_responses(404, 422, 503),
)
async def get_model(context: SharedContext, _caller: SessionsReader, name: AnyName) -> ModelDetail:
    """An uploaded model is described by its newest version, even before a worker has loaded it."""
    return await described_model(context, name)


@router.put(
    "/v1/models/{name}",
    summary="Upload a model, or a new version of it",
    description="The body is a tar, tar.gz or zip archive of a checkpoint folder: `model.json`, `model.safetensors` "
    "and, optionally, `README.md`. With `url`, there is no body. Nothing in it is executed. Workers load the model "
    "within seconds; then new sessions use it, and running sessions keep their version. The version is a fingerprint "
    "of the content: if the same content is uploaded again, it becomes the newest version again. With `shadow` new "
    "sessions do not use it: it follows live sessions of the model, and what it finds is not published, see `GET "
    "/v1/models/{name}/shadow`.",
    response_model=ModelDetail,
    responses={
        201: {"model": ModelDetail, "description": "The version is new."},
        **problem_responses(408, 409, 413, 415, 422, 429, 503, 507),
    },
    openapi_extra=_ARCHIVE,
)
async def put_model(
    request: Request,
    context: SharedContext,
    caller: Administrator,
    response: Response,
    name: ModelName,
    shadow: Annotated[
        bool,
        Query(description="Upload it as the shadow of the model. It replaces an earlier shadow."),
    ] = False,
    url: Annotated[
        str | None,
        Query(
            description="Instead of a body: a checkpoint folder in the bucket that CAKE_MODEL_BUCKET names.",
            max_length=2048,
            pattern="^s3://",
            examples=["s3://models/released/gate-3"],
        ),
    ] = None,
) -> ModelDetail:
    if name in configured_names(await context.store.workers.live(), context.settings):
        raise ModelConfiguredError(f"{name!r} is a model of the settings (CAKE_MODELS). Upload under another name.")
    if url is None:
        info, files = await _from_archive(request, context, caller, name)
    else:
        info, files = await _from_bucket(url, context, name)
    uploaded = UploadedModel(
        info=info,
        size_bytes=sum(map(len, files.values())),
        uploaded_at=datetime.now(UTC),
        uploaded_by=None if caller.key is None else caller.key.id,
        is_shadow=shadow,
    )
    if shadow:
        _require_shadow_of(versions_of(await context.store.models.all(), name), info)
    is_new = await _keep(context, uploaded, files)
    context.audit.record("model.shadow" if shadow else "model.put", caller.actor, model=name, version=info.version)
    response.status_code = 201 if is_new else 200
    return await described_model(context, name)


@router.delete(
    "/v1/models/{name}",
    summary="Delete an uploaded model with all its versions",
    description="Refused while sessions that have not ended use it. Workers unload it within seconds.",
    status_code=204,
    responses=problem_responses(404, 409, 422, 503),
)
async def delete_model(context: SharedContext, caller: Administrator, name: AnyName) -> None:
    uploaded = await context.store.models.all()
    versions = [*versions_of(uploaded, name), *filter(None, [shadow_of(uploaded, name)])]
    if not versions:
        if name in configured_names(await context.store.workers.live(), context.settings):
            raise ModelConfiguredError(
                f"{name!r} is a model of the settings. Take it out of CAKE_MODELS and restart the workers."
            )
        raise unknown_model(name)
    # The record first: if this is interrupted, the sweep finds files without a record.
    await context.store.models.delete([model.key for model in versions])
    for model in versions:
        await context.blobs.models.delete(model.key)
    context.audit.record("model.delete", caller.actor, model=name)


def _require_shadow_of(versions: Sequence[UploadedModel], info: ModelInfo) -> None:
    """Check that the version can follow the sessions of the others. Raises NotFoundError, InvalidRequestError."""
    if not versions:
        raise NotFoundError(
            f"There is no uploaded model {info.name!r} for the shadow to follow. First upload it without `shadow`."
        )
    if versions[-1].info.version == info.version:
        raise InvalidRequestError("New sessions already use this version. Upload another one as the shadow.")
    if frames_of(versions[-1].info) != frames_of(info):
        raise InvalidRequestError(
            "It takes other frames (sample_hz, image_size or framing) than the version that new sessions use, so it"
            " cannot be its shadow."
        )


async def _from_bucket(url: str, context: Context, name: str) -> tuple[ModelInfo, dict[str, bytes]]:
    """The model of a folder. Raises what `read_checkpoint` and `model_in` raise."""
    settings = context.settings
    async with context.model_reads:
        files = await read_checkpoint(url, bucket_url=settings.model_bucket, max_bytes=settings.max_model_bytes)
        return await asyncio.to_thread(model_in, files, name, where="folder"), files


async def _from_archive(
    request: Request, context: Context, caller: Caller, name: str
) -> tuple[ModelInfo, dict[str, bytes]]:
    """The model that the body holds. Raises what `read_model` raises, and UnauthorizedError."""
    archive = context.blobs.arriving_path(f"model-{uuid.uuid4()}")
    try:
        await _receive(request, context, archive)
        await require_authorized(context, caller)
        async with context.model_reads:
            return await asyncio.to_thread(read_model, archive, name, max_bytes=context.settings.max_model_bytes)
    finally:
        archive.unlink(missing_ok=True)  # also when cancelled, so it must not await


async def _receive(request: Request, context: Context, path: Path) -> None:
    """Write the body to a file. Raises TooLargeError, RequestTimeoutError, StorageFullError."""
    buffer = bytearray()
    context.disk.require_room()
    # tar adds headers and padding.
    limit_bytes = context.settings.max_model_bytes + 2 * MAX_SMALL_BYTES
    async for chunk in body_of(request, max_bytes=limit_bytes, setting="CAKE_MAX_MODEL_BYTES"):
        buffer += chunk
        if len(buffer) >= _WRITE_BYTES:
            await asyncio.to_thread(_append, path, bytes(buffer))
            buffer.clear()
            context.disk.require_room()
    await asyncio.to_thread(_append, path, bytes(buffer))


def _append(path: Path, data: bytes) -> None:
    try:
        with path.open("ab") as file:
            file.write(data)
    except OSError as error:
        raise StorageFullError(f"There is no space for the model ({error.strerror}). Free some disk space.") from error


async def _keep(context: Context, uploaded: UploadedModel, files: dict[str, bytes]) -> bool:
    """Store the files, then the record, which workers look at. Returns whether the version is new."""
    is_new = uploaded.key not in {model.key for model in await context.store.models.all()}
    await context.blobs.models.put(uploaded.key, files)
    try:
        await context.store.models.put(uploaded, max_kept=context.settings.max_uploaded_models)
    except ModelLimitError:
        await context.blobs.models.delete(uploaded.key)
        raise
    return is_new


async def described_model(context: Context, name: str) -> ModelDetail:
    """A model as clients see it. Raises NotFoundError."""
    workers = await context.store.workers.live()
    configured = configured_models(workers).get(name)
    if configured is not None:
        card = await asyncio.to_thread(_card_of_folder, configured, context.settings.models)
        return ModelDetail(**configured.model_dump(), card=card, workers=_on_workers(workers, name))
    uploaded = await context.store.models.all()
    versions = versions_of(uploaded, name)
    if not versions:
        raise unknown_model(name)
    newest, shadow = versions[-1], shadow_of(uploaded, name)
    return ModelDetail(
        **newest.info.model_dump(),
        card=await context.blobs.models.card(newest.key),
        size_bytes=newest.size_bytes,
        uploaded_at=newest.uploaded_at,
        workers=_on_workers(workers, newest.key),
        shadow=None if shadow is None else _described_shadow(shadow, workers),
    )


def _described_shadow(shadow: UploadedModel, workers: Sequence[WorkerInfo]) -> ModelShadow:
    return ModelShadow(
        version=shadow.info.version, uploaded_at=shadow.uploaded_at, workers=_on_workers(workers, shadow.key)
    )


def _on_workers(workers: Sequence[WorkerInfo], key: str) -> list[ModelOnWorker]:
    found: list[ModelOnWorker] = []
    for worker in workers:
        if any(model.name == key for model in worker.models):
            found.append(ModelOnWorker(worker=worker.id, state="loaded", detail=None))
        elif key in worker.model_failures:
            found.append(ModelOnWorker(worker=worker.id, state="failed", detail=worker.model_failures[key]))
        else:
            found.append(ModelOnWorker(worker=worker.id, state="absent", detail=None))
    return found


def _card_of_folder(model: ModelInfo, configured: Sequence[str]) -> str | None:
    """The card of a configured model, if this machine has the same version of it. Blocks."""
    # NumPy takes long to import, and most servers are never asked for a card.
    from model.checkpoints.stored import checkpoint_version

    place = next((path for path in configured if Path(path).name == model.name), model.name)
    try:
        folder = find_checkpoint(place)
        is_same = checkpoint_version(folder) == model.version
        return (folder / CARD_FILE).read_text(errors="replace") if is_same else None
    except (CheckpointNotFoundError, OSError, ValueError):
        return None


def unknown_model(name: str) -> NotFoundError:
    """There is neither a configured nor an uploaded model with this name."""
    return NotFoundError(f"There is no model {name[:100]!r}. `GET /v1/models` lists those that can be used.")
