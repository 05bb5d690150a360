"""The models that the live workers have loaded."""

from fastapi import APIRouter

from service.api.caller import SessionsReader
from service.api.context import SharedContext
from service.api.problems import ASKS, problems
from service.errors import NotReady
from service.schemas import ModelInfo, ModelList
from service.store.base import Store

router = APIRouter(tags=["models"])


async def loaded_models(store: Store) -> dict[str, ModelInfo]:
    """By name. Raises NotReady while no worker is registered."""
    workers = await store.workers()
    if not workers:
        raise NotReady("No worker is ready yet; try again in a moment.", retry_after_s=2)
    return {model.name: model for worker in workers for model in worker.models}


@router.get("/v1/models", summary="The models that a session may name", responses=problems(*ASKS, 503))
async def list_models(context: SharedContext, _caller: SessionsReader) -> ModelList:
    models = await loaded_models(context.store)
    return ModelList(default=context.settings.default_model, models=[models[name] for name in sorted(models)])
