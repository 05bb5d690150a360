"""Why a store refuses a session, in the same words whichever store it is."""

from collections.abc import Sequence

from service.access.keys import Limits
from service.errors import IdempotencyConflict, InvalidRequest, NotFound, OverCapacity, SessionLimit, StorageLimit
from service.schemas import ENDED_STATES, Event, SessionState
from service.store.base import LeaseLost
from service.store.keys import STORAGE_RETRY_AFTER_S

RETRY_AFTER_S = 5


def unknown_session() -> NotFound:
    return NotFound("There is no session with this id; it may have been deleted.")


def not_ended() -> InvalidRequest:
    return InvalidRequest("The session has not ended; stop it first.")


def lease_lost(session_id: str) -> LeaseLost:
    return LeaseLost(f"Session {session_id} is no longer this worker's.")


def worker_released(worker_id: str) -> LeaseLost:
    return LeaseLost(f"Worker {worker_id} was released: register again.")


def idempotency_conflict() -> IdempotencyConflict:
    return IdempotencyConflict("This Idempotency-Key came with another body before; use a new key.")


def session_limit(limits: Limits) -> SessionLimit:
    return SessionLimit(
        f"This key may have {limits.max_sessions} sessions at a time; try again when one has ended.",
        retry_after_s=RETRY_AFTER_S,
    )


def storage_limit(limits: Limits, stored_bytes: int) -> StorageLimit:
    return StorageLimit(
        f"This key may store {limits.max_stored_bytes} bytes of uploads and stores {stored_bytes};"
        " delete sessions that have ended.",
        retry_after_s=STORAGE_RETRY_AFTER_S,
    )


def over_capacity(capacity_steps_per_s: float, reserved_steps_per_s: float, cost_steps_per_s: float) -> OverCapacity:
    return OverCapacity(
        f"The workers can do {capacity_steps_per_s:.0f} steps/s, {reserved_steps_per_s:.0f} are set aside and this"
        f" session needs {cost_steps_per_s:.0f} more; try again when another has ended.",
        retry_after_s=RETRY_AFTER_S,
    )


def too_many_wait(queued: int) -> OverCapacity:
    return OverCapacity(f"{queued} sessions wait already; try again later.", retry_after_s=RETRY_AFTER_S)


def require_end_event(state: SessionState | None, events: Sequence[Event]) -> None:
    """Raises ValueError when an update ends a session and does not say so."""
    said = (event.type == "session.state" and event.state == state for event in events)
    if state in ENDED_STATES and not any(said):
        raise ValueError(f"An update to {state} must come with its session.state event.")


def scoped_idempotency_key(key: str | None, owner: str | None) -> str | None:
    """Callers choose these keys without knowing each other; no header can contain the newline."""
    return key if key is None or owner is None else f"{owner}\n{key}"
