"""Shadow versions of models: what they find compared with the serving version, and how one takes its place."""

from datetime import UTC, datetime

from fastapi import APIRouter

from service.api.authentication import Administrator, SessionsReader
from service.api.context import SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.api.model_catalogue import shadow_of, versions_of
from service.api.models import AnyName, described_model, unknown_model
from service.api.shadow_difference import read_difference
from service.errors import NotFoundError
from service.server_schemas import ModelDetail
from service.shadow_schemas import ShadowDifference
from service.store.model_records import UploadedModel
from service.store.protocols import Store

router = APIRouter(tags=["models"], responses=problem_responses(*AUTH_STATUSES))


@router.get(
    "/v1/models/{name}/shadow",
    summary="Get what the shadow version of a model finds, compared with what is published",
    description="Covers the sessions of the key; with the scope `admin`, all sessions.",
    responses=problem_responses(404, 422, 503),
)
async def get_shadow(context: SharedContext, caller: SessionsReader, name: AnyName) -> ShadowDifference:
    shadow = await _shadow(context.store, name)
    context.audit.record_view(caller.actor, session="all", what="events")
    serving = versions_of(await context.store.models.all(), name)[-1].info.version
    return await read_difference(context.store, shadow, serving, sight=caller.sight)


@router.delete(
    "/v1/models/{name}/shadow",
    summary="Delete the shadow version of a model, and what it found",
    status_code=204,
    responses=problem_responses(404, 409, 422, 503),
)
async def delete_shadow(context: SharedContext, caller: Administrator, name: AnyName) -> None:
    shadow = await _shadow(context.store, name)
    await context.store.models.delete([shadow.key])
    await context.blobs.models.delete(shadow.key)
    context.audit.record("model.delete", caller.actor, model=name, version=shadow.info.version)


@router.post(
    "/v1/models/{name}/promote",
    summary="Make the shadow version of a model the one that new sessions use",
    description="Running sessions keep their version; `PATCH /v1/sessions/{id}` with `model_version: latest` moves "
    "one. The results of the shadow can no longer be read.",
    responses=problem_responses(404, 422, 429, 503),
)
async def promote_shadow(context: SharedContext, caller: Administrator, name: AnyName) -> ModelDetail:
    shadow = await _shadow(context.store, name)
    promoted = shadow.model_copy(update={"is_shadow": False, "uploaded_at": datetime.now(UTC)})
    await context.store.models.put(promoted, max_kept=context.settings.max_uploaded_models)
    context.audit.record("model.promote", caller.actor, model=name, version=shadow.info.version)
    return await described_model(context, name)


async def _shadow(store: Store, name: str) -> UploadedModel:
    """Raises NotFoundError."""
    uploaded = await store.models.all()
    if not versions_of(uploaded, name):
        raise unknown_model(name)
    if (shadow := shadow_of(uploaded, name)) is None:
        raise NotFoundError(f"The model {name!r} has no shadow. Upload one: `PUT /v1/models/{name}?shadow=true`.")
    return shadow
