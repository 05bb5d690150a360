"""Builds the record of a submitted session and queues it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from pydantic import SecretStr

from service.access.sight import Sight
from service.api.caller import Caller
from service.api.context import Context
from service.api.model_catalogue import default_model
from service.errors import (
    InvalidRequestError,
    SourceRejectedError,
    UnknownLabelError,
    UnknownModelError,
    WebhookRejectedError,
)
from service.observability.tracing import current_traceparent
from service.problems import FieldError
from service.requests import SessionOptions, SourceRequest, WebhookRequest
from service.schemas import NamedRegion, Pace
from service.server_schemas import ModelInfo
from service.settings import Settings
from service.sources.sources import SourceForbiddenError, check_url, is_camera
from service.sources.stored import StoredPush, StoredSource, StoredUrl
from service.store.admission import too_many_regions
from service.store.records import SessionRecord
from service.store.rejections import unknown_session
from service.store.state_log import log_state
from service.store.webhook_records import StoredWebhook
from service.webhooks.signature import new_webhook_secret


async def queue_session(
    context: Context, caller: Caller, record: SessionRecord, idempotency_key: str | None, digest: str
) -> SessionRecord:
    """Raises OverCapacityError, InvalidRequestError, NotFoundError and what `Sessions.create` raises."""
    if caller.key is not None:
        metadata = within_sight(caller.sight, record.metadata)
        record = record.model_copy(update={"owner": caller.key.id, "metadata": metadata})
    if record.streams > 1 and not context.settings.queue_beyond_capacity:
        # One worker decodes the video, so the regions cannot be spread over several.
        largest = max((worker.capacity_steps_per_s for worker in await context.store.workers.live()), default=0.0)
        if record.cost_steps_per_s > largest:
            raise too_many_regions(record.streams, record.cost_steps_per_s, largest)
    queued = await context.store.sessions.create(
        record,
        limits=None if caller.key is None else caller.key.limits,
        max_queued=context.settings.max_queued_sessions,
        may_wait=context.settings.queue_beyond_capacity,
        idempotency_key=idempotency_key,
        digest=digest,
    )
    if queued.id == record.id:
        log_state(queued)
    if not caller.sight.shows(queued.owner, queued.metadata):
        # Its metadata were changed after the first request.
        raise unknown_session()
    return queued


def within_sight(sight: Sight, metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata of a session that the caller will see. If only one value is possible, the client need not send it.

    Raises InvalidRequestError.
    """
    only = {key: next(iter(values)) for key, values in sight.metadata if len(values) == 1}
    complete = {**only, **metadata}
    errors = [
        FieldError(field="metadata", message=f"{key}: you may only set {' or '.join(sorted(values))}")
        for key, values in sight.metadata
        if complete.get(key) not in values
    ]
    if errors:
        raise InvalidRequestError(
            f"metadata: {errors[0].message}, since your access is limited to such sessions.", errors=errors
        )
    return complete


def stored_source(asked: SourceRequest, settings: Settings) -> StoredSource:
    """Raises SourceRejectedError."""
    if asked.url is None:
        return StoredPush(stream=asked.stream, max_down_s=asked.max_down_s)
    check_source(str(asked.url), settings)
    url = SecretStr(str(asked.url))
    return StoredUrl(
        url=url, stream=asked.stream, transport=asked.transport, max_down_s=asked.max_down_s, live=asked.live
    )


def check_source(url: str, settings: Settings) -> None:
    """Raises SourceRejectedError."""
    try:
        check_url(url, settings.source_policy)
    except SourceForbiddenError as error:
        raise SourceRejectedError(error.detail) from error


def new_record(
    session_id: str, source: StoredSource, asked: SessionOptions, models: Mapping[str, ModelInfo], settings: Settings
) -> SessionRecord:
    """A realtime session costs its sampling rate, a fast one a small fixed share; with regions, for each of them.

    Raises UnknownModelError, UnknownLabelError.
    """
    name = default_model(models, settings) if asked.model is None else asked.model
    if name not in models:
        raise UnknownModelError(
            f"There is no model {name!r}. `known` lists the available models.", known=sorted(models)
        )
    model = models[name]
    check_labels(asked.labels or (), model)
    labels = tuple(dict.fromkeys(asked.labels or model.labels))
    check_rules(asked.rules, labels)
    pace: Pace = "realtime" if is_camera(source) else asked.pace
    stream_steps_per_s = model.sample_hz if pace == "realtime" else settings.fast_session_steps_per_s
    regions = tuple(NamedRegion(**region.model_dump()) for region in asked.regions)
    return SessionRecord(
        id=session_id,
        source=source.model_copy(update={"regions": regions or None}),
        model=name,
        model_version=model.version,
        is_version_pinned=model.origin == "uploaded",
        labels=labels,
        rules=asked.rules,
        pace=pace,
        cost_steps_per_s=stream_steps_per_s * max(1, len(regions)),
        created_at=datetime.now(UTC),
        time_zero="source_start",
        name=asked.name,
        metadata=asked.metadata,
        traceparent=current_traceparent(),
        webhook=None if asked.webhook is None else _webhook(asked.webhook, settings),
    )


def check_labels(labels: Iterable[str], model: ModelInfo) -> None:
    """Raises UnknownLabelError unless the model has the labels."""
    unknown = set(labels) - set(model.labels)
    if unknown:
        names = ", ".join(sorted(unknown))
        raise UnknownLabelError(
            f"The model {model.name!r} has no label {names}. `known` lists its labels.", known=list(model.labels)
        )


def check_rules(rules: Iterable[str], labels: Sequence[str]) -> None:
    """Raises UnknownLabelError unless the labels that have rules are reported."""
    unknown = set(rules) - set(labels)
    if unknown:
        names = ", ".join(sorted(unknown))
        raise UnknownLabelError(
            f"There are rules for {names}, which the session does not report. `known` lists those that it reports.",
            known=list(labels),
        )


def _webhook(asked: WebhookRequest, settings: Settings) -> StoredWebhook:
    """Raises WebhookRejectedError."""
    try:
        check_url(str(asked.url), settings.source_policy)
    except SourceForbiddenError as error:
        raise WebhookRejectedError(
            "The webhook's address is not public. If the receiver is in a private network, the operator can allow that"
            " network with CAKE_SOURCE_ALLOW."
        ) from error
    return StoredWebhook(url=SecretStr(str(asked.url)), secret=SecretStr(asked.secret or new_webhook_secret()))
