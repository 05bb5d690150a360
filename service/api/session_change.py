"""Checks what a client wants to change of a session."""

from service.access.sight import Sight
from service.api.context import Context
from service.api.model_catalogue import frames_of, loaded_keys, loaded_models, model_of
from service.api.new_session import check_labels, check_rules, within_sight
from service.errors import InvalidRequestError, NotReadyError
from service.requests import SessionChange
from service.server_schemas import ModelInfo
from service.store.model_records import model_key
from service.store.records import SessionRecord, SettingsChange


async def settings_change(
    context: Context, sight: Sight, record: SessionRecord, asked: SessionChange
) -> SettingsChange:
    """The change of the session `record`, as the store takes it.

    Raises InvalidRequestError, UnknownLabelError, and NotReadyError when labels or version change while no worker has
    the model.
    """
    if not asked.model_fields_set:
        raise InvalidRequestError("Send at least one of `rules`, `labels`, `model_version`, `name` and `metadata`.")
    names = asked.model_fields_set - {"labels", "model_version"}
    changes: dict[str, object] = {name: getattr(asked, name) for name in names}
    if "metadata" in names:
        changes["metadata"] = within_sight(sight, asked.metadata)
    model: ModelInfo | None = None
    if asked.model_version is not None:
        before, model = await model_of(context.store, record), await _latest(context, record)
        changes["model_version"], changes["is_version_pinned"] = model.version, model.origin == "uploaded"
        if "labels" not in asked.model_fields_set and set(record.labels) == set(before.labels):
            # It reported all actions, and continues to do so.
            changes["labels"] = tuple(model.labels)
    if "labels" in asked.model_fields_set:
        model = model or await model_of(context.store, record)
        changes["labels"] = tuple(dict.fromkeys(asked.labels or model.labels))
    labels = changes.get("labels", record.labels)
    assert isinstance(labels, tuple)
    if model is not None:
        check_labels(labels, model)
    if "rules" in asked.model_fields_set:
        check_rules(asked.rules, labels)
    return SettingsChange.model_validate(changes)


async def _latest(context: Context, record: SessionRecord) -> ModelInfo:
    """The version that new sessions get. Raises NotReadyError until the session's worker has loaded it."""
    before, latest = await model_of(context.store, record), (await loaded_models(context.store)).get(record.model)
    worker = await context.store.workers.owner_of(record.id)
    if latest is None:
        raise NotReadyError(f"No worker has loaded the model {record.model!r}. Retry later.", retry_after_s=10)
    key = model_key(latest.name, latest.version) if latest.origin == "uploaded" else latest.name
    if worker is not None and key not in loaded_keys([worker]):
        raise NotReadyError(
            "The worker of the session has not loaded the newest version of its model yet. Retry in a few seconds;"
            f" `GET /v1/models/{record.model}` says if it cannot load it.",
            retry_after_s=5,
        )
    if frames_of(latest) != frames_of(before):
        raise InvalidRequestError(
            "The newest version takes other frames (sample_hz, image_size or framing) than the version that the"
            " session runs on. Submit the source again."
        )
    return latest
