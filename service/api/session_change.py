"""Checks what a client wants to change of a session."""

from service.api.capabilities import loaded_models
from service.api.context import Context
from service.api.new_session import check_labels, check_rules
from service.errors import InvalidRequestError, NotReadyError
from service.requests import SessionChange
from service.store.records import SessionRecord, SettingsChange


async def settings_change(context: Context, record: SessionRecord, asked: SessionChange) -> SettingsChange:
    """The change of the session `record`, as the store takes it.

    Raises InvalidRequestError, UnknownLabelError, and NotReadyError when labels change while no worker has the model.
    """
    if not asked.model_fields_set:
        raise InvalidRequestError("Send at least one of `rules`, `labels`, `name` and `metadata`.")
    changes: dict[str, object] = {name: getattr(asked, name) for name in asked.model_fields_set - {"labels"}}
    labels = record.labels
    if "labels" in asked.model_fields_set:
        model = (await loaded_models(context.store.workers)).get(record.model)
        if model is None:
            raise NotReadyError(f"No worker has loaded the model {record.model!r}. Retry later.", retry_after_s=10)
        check_labels(asked.labels or (), model)
        changes["labels"] = labels = tuple(dict.fromkeys(asked.labels or model.labels))
    if "rules" in asked.model_fields_set:
        check_rules(asked.rules, labels)
    return SettingsChange.model_validate(changes)
