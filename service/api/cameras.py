"""Find the cameras of the server's network with ONVIF: for administrators, and in allowed networks only."""

from fastapi import APIRouter

from service.api.authentication import Administrator
from service.api.context import Context, SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.api.json_body import JsonRoute
from service.api.model_catalogue import default_model, loaded_models
from service.camera_schemas import CameraSearch, FoundCameras
from service.errors import SourceRejectedError, UnknownModelError
from service.server_schemas import ModelInfo

router = APIRouter(route_class=JsonRoute, tags=["sessions"], responses=problem_responses(*AUTH_STATUSES))


@router.post(
    "/v1/cameras:discover",
    summary="Find the cameras of the server's network with ONVIF",
    description="Lists their streams, and which one suits the model. Only devices in CAKE_SOURCE_ALLOW are asked for "
    "their streams, since sessions cannot use others. The password of the cameras is sent in the body, because it must "
    "not be part of a URL. A server runs one search at a time.",
    responses=problem_responses(403, 422, 503),
)
async def discover_cameras(context: SharedContext, caller: Administrator, search: CameraSearch) -> FoundCameras:
    allowed = context.settings.source_allow
    if not allowed:
        raise SourceRejectedError(
            "This server does not search for cameras, because it may not open any. The operator can allow their network"
            " with CAKE_SOURCE_ALLOW."
        )
    # Imported once it is used: few servers search for cameras, and its libraries would delay the start of each.
    from service.api.camera_search import hosts_to_ask, search_cameras

    hosts = hosts_to_ask(search, allowed)
    model = await _model(context, search.model)
    context.audit.record("cameras.discover", caller.actor)
    async with context.discovery:
        return await search_cameras(search, hosts, model, allowed)


async def _model(context: Context, name: str | None) -> ModelInfo:
    """Raises UnknownModelError, NotReadyError."""
    models = await loaded_models(context.store)
    chosen = name or default_model(models, context.settings)
    if chosen not in models:
        raise UnknownModelError(
            f"There is no model {chosen!r}. `known` lists the available models.", known=sorted(models)
        )
    return models[chosen]
