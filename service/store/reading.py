"""Tolerant readers of stored data: servers and workers of two versions share a store.

Unknown fields are ignored. A row that cannot be read is skipped, logged and counted once, and stays in the store for a
version that can read it. It never keeps other rows from being read.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar, get_args

import structlog
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from service.access.keys import ApiKey
from service.errors import StoreUnavailableError
from service.event_schemas import EVENT, Event, event_key
from service.feedback import Feedback
from service.schemas import FailureCode
from service.store.model_records import UploadedModel
from service.store.previous_release import EVENT_FIELDS_SINCE_0_2, join_models, split_models, split_video
from service.store.records import SessionRecord, SessionUpdate
from service.store.shadow_records import FollowedSpan, ShadowEntry, ShadowStart
from service.store.subscription_records import (
    DeliveryProgress,
    StoredSubscription,
    SubscriptionRecord,
    SubscriptionState,
)
from service.store.webhook_records import DeliveryAttempt
from service.store.worker_records import WorkerInfo

T = TypeVar("T")
RETRY_AFTER_S = 3600.0
"""A webhook that cannot be read is tried again after this long."""
MAX_REMEMBERED = 10_000
LAST_UNIX_S = datetime.max.replace(tzinfo=UTC).timestamp()
_WORKER = TypeAdapter(WorkerInfo)
_ATTEMPT = TypeAdapter(DeliveryAttempt)
_METADATA = TypeAdapter(dict[str, str])
_STATE: TypeAdapter[SubscriptionState] = TypeAdapter(SubscriptionState)
_SHADOW_ENTRY: TypeAdapter[FollowedSpan | ShadowStart] = TypeAdapter(ShadowEntry)
_CODES = frozenset(get_args(FailureCode))
_log = structlog.get_logger(__name__)


class Reader:
    """Reads rows and remembers those that it could not read. `count` is called with the kind of each such row."""

    def __init__(self, count: Callable[[str], None] = lambda kind: None) -> None:
        self._count = count
        self._unreadable: dict[tuple[str, str], None] = {}

    def read(self, kind: str, row_id: object, parse: Callable[[], T]) -> T | None:
        """The result of `parse`, or None when it cannot read the row."""
        try:
            return parse()
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
            self._note(kind, str(row_id), error)
            return None

    def unreadable(self, kind: str) -> list[str]:
        """Ids of the rows of this kind that could not be read."""
        return [row_id for noted, row_id in self._unreadable if noted == kind]

    def _note(self, kind: str, row_id: str, error: Exception) -> None:
        if (kind, row_id) in self._unreadable:
            return
        if len(self._unreadable) >= MAX_REMEMBERED:
            del self._unreadable[next(iter(self._unreadable))]
        self._unreadable[kind, row_id] = None
        self._count(kind)
        # The message may quote the row, and so secrets.
        _log.warning("skipped a stored row that this version cannot read", kind=kind, id=row_id, error=_reason(error))


def parse_feedback(json_text: str | bytes) -> Feedback:
    """Feedback from its JSON. Raises ValueError."""
    return Feedback.model_validate_json(json_text, extra="ignore")


def parse_model(json_text: str | bytes) -> UploadedModel:
    """An uploaded model from its JSON. Raises ValueError."""
    return UploadedModel.model_validate_json(json_text, extra="ignore")


def parse_shadow_entry(json_text: str | bytes) -> FollowedSpan | ShadowStart:
    """What a shadow version left about a session, from its JSON. Raises ValueError."""
    return _SHADOW_ENTRY.validate_json(json_text, extra="ignore")


def parse_session(json_text: str | bytes) -> SessionRecord:
    """A session from its JSON. A failure code of a newer version becomes `internal`. Raises ValueError."""
    try:
        return SessionRecord.model_validate_json(json_text, extra="ignore")
    except ValidationError:
        return SessionRecord.model_validate_json(_with_known_code(json_text), extra="ignore")


def parse_metadata(json_value: object) -> dict[str, str]:
    """The metadata of a session from their JSON value. Raises ValueError."""
    return _METADATA.validate_python(json_value)


def dump_session(record: SessionRecord) -> str:
    """A session as JSON."""
    # Most sessions are stored before they have a video, and this is three times as fast.
    return record.model_dump_json() if record.video is None else to_json(stored_session(record)).decode()


def stored_session(record: SessionRecord) -> dict[str, Any]:
    """The fields of a session, as JSON values."""
    return split_video(record.model_dump(mode="json"))


def stored_update(update: SessionUpdate) -> dict[str, Any]:
    """The fields that an update sets, as JSON values under their names in a stored session."""
    return split_video(update.model_dump(mode="json", exclude_unset=True))


def dump_event(event: Event) -> tuple[str, str | None]:
    """An event as two JSON objects: the fields that version 0.1 knows, and the others, if they are set."""
    known = EVENT.dump_json(event, exclude=EVENT_FIELDS_SINCE_0_2).decode()
    # Not `getattr`, which is slow for fields that this type of event lacks.
    if not any(map(vars(event).get, EVENT_FIELDS_SINCE_0_2)):
        return known, None
    others = EVENT.dump_json(event, include=EVENT_FIELDS_SINCE_0_2, exclude_defaults=True).decode()
    return known, None if others == "{}" else others


def parse_event(known: str | bytes, others: str | bytes | None = None) -> Event:
    """An event from its JSON. A failure code of a newer version becomes `internal`. Raises ValueError."""
    json_text = known if others is None else _joined(known, others)
    try:
        return EVENT.validate_json(json_text, extra="ignore")
    except ValidationError:
        return EVENT.validate_json(_with_known_code(json_text), extra="ignore")


def parse_worker(json_text: str | bytes) -> WorkerInfo:
    """A worker from its JSON. Raises ValueError."""
    return _WORKER.validate_python(join_models(json.loads(json_text)), extra="ignore")


def dump_worker(worker: WorkerInfo) -> str:
    """A worker as JSON."""
    return json.dumps(split_models(_WORKER.dump_python(worker, mode="json", exclude_defaults=True)))


def read_stored_key(json_text: str | bytes, last_used_at: str | None = None) -> ApiKey:
    """An API key from its JSON and the ISO time of its last use. Raises ValueError."""
    key = ApiKey.model_validate_json(json_text, extra="ignore")
    used = None if last_used_at is None else datetime.fromisoformat(last_used_at)
    return key.model_copy(update={"last_used_at": used})


def parse_attempt(fields: object) -> DeliveryAttempt:
    """An attempt to deliver an event from its fields. Raises ValueError."""
    attempt = _ATTEMPT.validate_python(fields, extra="ignore")
    event_key(attempt.event_id)
    if not 0 <= attempt.at_unix_s <= LAST_UNIX_S:
        raise ValueError("not a time")
    return attempt


def parse_subscription(
    record: str | bytes, state: str | bytes, revision: bytes | int, progress: str | bytes
) -> StoredSubscription:
    """A subscription from its columns. Raises ValueError, TypeError."""
    return StoredSubscription(
        SubscriptionRecord.model_validate_json(record),
        _STATE.validate_python(state.decode() if isinstance(state, bytes) else state),
        int(revision),
        DeliveryProgress.model_validate_json(progress),
    )


def unreadable_session() -> StoreUnavailableError:
    """A session was requested by its id, and this version cannot read it."""
    return _unreadable("session")


def unreadable_webhook() -> StoreUnavailableError:
    """The webhook of a session was requested, and this version cannot read it."""
    return _unreadable("webhook")


def _unreadable(kind: str) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"This {kind} was written by another version of CAKE and cannot be read. Retry when all servers run the newer"
        " version."
    )


def _joined(known: str | bytes, others: str | bytes) -> str:
    """One JSON object of two; only the first may be empty."""
    first, second = (text if isinstance(text, str) else text.decode() for text in (known, others))
    return f"{first.rstrip().removesuffix('}')},{second.lstrip().removeprefix('{')}"


def _with_known_code(json_text: str | bytes) -> str:
    fields = json.loads(json_text)
    if not isinstance(fields, dict) or fields.get("code") in (None, *_CODES):
        raise ValueError("not readable")
    return json.dumps({**fields, "code": "internal"})


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['type']}" for one in error.errors()[:3])
    return type(error).__name__
