"""Which models sessions can use: those that workers have loaded; for uploaded ones, the newest loaded version."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from model.checkpoints.folders import available_models
from service.errors import NotReadyError
from service.server_schemas import ModelInfo
from service.settings import Settings
from service.store.model_records import UploadedModel
from service.store.protocols import Store, Workers
from service.store.records import SessionRecord
from service.store.worker_records import WorkerInfo

SHIPPED_DEFAULT = "people"


async def ready_workers(workers: Workers) -> list[WorkerInfo]:
    """The live workers, at least one. Raises NotReadyError while none is registered."""
    return at_least_one(await workers.live())


def at_least_one(live: list[WorkerInfo]) -> list[WorkerInfo]:
    """The live workers. Raises NotReadyError if there are none."""
    if not live:
        raise NotReadyError("No worker is ready yet. Retry in a few seconds.", retry_after_s=2)
    return live


async def loaded_models(store: Store) -> dict[str, ModelInfo]:
    """The models that new sessions can use, by name. Raises NotReadyError while no worker is registered.

    An uploaded version is used once a worker has loaded it; until then, the previous one is.
    """
    live, uploaded = await ready_workers(store.workers), await store.models.all()
    loaded = loaded_keys(live)
    newest = {model.info.name: model.info for model in uploaded if model.key in loaded and not model.is_shadow}
    return {**newest, **configured_models(live)}


def configured_models(workers: Iterable[WorkerInfo]) -> dict[str, ModelInfo]:
    """The models that come from the settings of workers, by name."""
    return {model.name: model for worker in workers for model in worker.models if model.origin == "configured"}


def loaded_keys(workers: Iterable[WorkerInfo]) -> set[str]:
    """Names of configured models and keys of uploaded ones that a worker has loaded."""
    return {model.name for worker in workers for model in worker.models}


async def model_of(store: Store, record: SessionRecord) -> ModelInfo:
    """The model that a session runs on. Raises NotReadyError when no worker has it."""
    if record.is_version_pinned:
        for model in await store.models.all():
            if model.key == record.model_key:
                return model.info
    elif (found := (await loaded_models(store)).get(record.model)) is not None:
        return found
    raise NotReadyError(f"No worker has loaded the model {record.model!r}. Retry later.", retry_after_s=10)


def default_model(models: Mapping[str, ModelInfo], settings: Settings) -> str:
    """The model of sessions that do not name one. `models` are those that are loaded, at least one."""
    if settings.default_model is not None:
        return settings.default_model
    preferred = [Path(model).name for model in settings.models] or [SHIPPED_DEFAULT]
    return next((name for name in preferred if name in models), min(models))


def configured_names(workers: Iterable[WorkerInfo], settings: Settings) -> set[str]:
    """Names that the settings of the workers, or of this server, give to models."""
    named = {Path(model).name for model in settings.models} or set(available_models())
    return named | configured_models(workers).keys()


def versions_of(uploaded: Iterable[UploadedModel], name: str) -> Sequence[UploadedModel]:
    """The versions of an uploaded model that serve, or served, sessions; the newest last."""
    return [model for model in uploaded if model.info.name == name and not model.is_shadow]


def shadow_of(uploaded: Iterable[UploadedModel], name: str) -> UploadedModel | None:
    """The shadow version of a model: the one that was uploaded last. The sweep deletes those before it."""
    shadows = [model for model in uploaded if model.info.name == name and model.is_shadow]
    return shadows[-1] if shadows else None


def frames_of(model: ModelInfo) -> tuple[float, int, str]:
    """What a decoder delivers for the model, which cannot change while it runs."""
    return model.sample_hz, model.image_size, model.framing
