"""Why the store rejects a call, in the same words from both backends."""

from collections.abc import Sequence

from service.errors import (
    InvalidRequestError,
    ModelInUseError,
    ModelLimitError,
    NotFoundError,
    SessionEndedError,
    SubscriptionLimitError,
    UnknownModelError,
)
from service.event_schemas import Event
from service.schemas import ENDED_STATES, SessionState
from service.store.delivery_protocols import SubscriptionLimits
from service.store.records import SessionRecord, SettingsChange
from service.store.worker_records import LeaseLostError


def unknown_session() -> NotFoundError:
    """There is no such session, or it belongs to another owner."""
    return NotFoundError("There is no session with this id. It may have been deleted.")


def not_ended() -> InvalidRequestError:
    """Only ended sessions can be deleted."""
    return InvalidRequestError("The session has not ended. Stop it first.")


def require_changeable(record: SessionRecord, change: SettingsChange) -> None:
    """Check that the change can take effect.

    Raises:
        SessionEndedError: It concerns decisions, and the session has ended.
    """
    if record.state in ENDED_STATES and change.model_fields_set & {"labels", "rules", "model_version"}:
        raise SessionEndedError(
            "The session has ended, so its rules, labels and model cannot change. Try rules on its scores with"
            " `rules:try`, or submit the video again with them."
        )


def lease_lost(session_id: str) -> LeaseLostError:
    """The fencing token is stale."""
    return LeaseLostError(f"Session {session_id} no longer belongs to this worker.")


def worker_released(worker_id: str) -> LeaseLostError:
    """The worker's lease expired, or it was released."""
    return LeaseLostError(f"Worker {worker_id} was released and has to register again.")


def key_name_taken(name: str) -> InvalidRequestError:
    """Active keys have unique names."""
    return InvalidRequestError(f"An API key named {name!r} exists. Choose another name, or revoke that key first.")


def unknown_key(id_or_name: str) -> NotFoundError:
    """There is no such API key."""
    return NotFoundError(f"There is no API key with the id or name {id_or_name!r}. `cake keys list` shows all keys.")


def unknown_subscription() -> NotFoundError:
    """There is no such subscription, or it belongs to another key."""
    return NotFoundError("There is no subscription with this id. `GET /v1/subscriptions` lists yours.")


def subscription_limit(limits: SubscriptionLimits) -> SubscriptionLimitError:
    """The key, or the whole service, has reached its limit of subscriptions."""
    return SubscriptionLimitError(
        f"One API key may have {limits.max_of_key} subscriptions, and all together {limits.max_in_all}. Delete one"
        " first; the operator can raise CAKE_MAX_SUBSCRIPTIONS."
    )


def model_gone(key: str) -> UnknownModelError:
    """The version was deleted, or replaced and deleted, since the caller looked."""
    return UnknownModelError(f"The model {key} was deleted a moment ago. Look at `GET /v1/models` and retry.", known=[])


def model_limit(max_kept: int) -> ModelLimitError:
    """The limit of stored versions of models is reached."""
    return ModelLimitError(
        f"{max_kept} versions of uploaded models are stored, as many as CAKE_MAX_UPLOADED_MODELS allows. Delete a model"
        " first; a replaced version is deleted automatically once no session uses it."
    )


def model_in_use(sessions: int) -> ModelInUseError:
    """Sessions that have not ended run on the model."""
    return ModelInUseError(
        f"Sessions that have not ended use the model ({sessions}). Stop them, or wait until they have ended."
    )


def require_end_event(state: SessionState | None, events: Sequence[Event]) -> None:
    """Check that an update that ends a session comes with its event.

    Raises:
        ValueError: It does not.
    """
    has_event = any(event.type == "session.state" and event.state == state for event in events)
    if state in ENDED_STATES and not has_event:
        raise ValueError(f"An update to {state} must come with its session.state event.")
