"""The errors of a session that is not admitted, the same for both backends."""

from service.access.keys import Limits
from service.errors import IdempotencyConflictError, OverCapacityError, SessionLimitError, StorageLimitError

RETRY_AFTER_S = 5
STORAGE_RETRY_AFTER_S = 60
"""After a StorageLimitError: the caller has to delete something first."""


def idempotency_conflict() -> IdempotencyConflictError:
    """The same key was sent with another body."""
    return IdempotencyConflictError("This Idempotency-Key was used with another request body. Use a new key.")


def session_limit(limits: Limits) -> SessionLimitError:
    """The owner has as many active sessions as its key allows."""
    return SessionLimitError(
        f"This API key allows {limits.max_sessions} active sessions. Retry when one has ended.",
        retry_after_s=RETRY_AFTER_S,
    )


def storage_limit(limits: Limits, stored_bytes: int) -> StorageLimitError:
    """The owner's uploads would exceed the quota of its key."""
    return StorageLimitError(
        f"This API key allows {limits.max_stored_bytes} bytes of uploads and {stored_bytes} are stored."
        " Delete ended sessions, then retry.",
        retry_after_s=STORAGE_RETRY_AFTER_S,
    )


def over_capacity(
    capacity_steps_per_s: float, reserved_steps_per_s: float, cost_steps_per_s: float
) -> OverCapacityError:
    """The live workers have too little spare capacity."""
    return OverCapacityError(
        f"The workers can run {capacity_steps_per_s:.0f} steps/s, {reserved_steps_per_s:.0f} are reserved, and this"
        f" session needs {cost_steps_per_s:.0f}. Retry when another session has ended.",
        retry_after_s=RETRY_AFTER_S,
    )


def too_many_regions(regions: int, cost_steps_per_s: float, largest_steps_per_s: float) -> OverCapacityError:
    """No worker could run all regions of the session."""
    return OverCapacityError(
        f"The {regions} regions need {cost_steps_per_s:.0f} steps/s of one worker, and the largest can run"
        f" {largest_steps_per_s:.0f}. Submit fewer regions in each session.",
        retry_after_s=RETRY_AFTER_S,
    )


def queue_full(queued: int) -> OverCapacityError:
    """Too many sessions wait for a worker."""
    return OverCapacityError(
        f"The queue is full: {queued} sessions are waiting. Retry later.", retry_after_s=RETRY_AFTER_S
    )


def scoped_idempotency_key(key: str | None, owner: str | None) -> str | None:
    """Separate the keys of different owners. Headers cannot contain the newline."""
    return key if key is None or owner is None else f"{owner}\n{key}"
