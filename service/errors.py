"""Every failure of a request: one class, one stable code, one HTTP status.

They are raised where they happen; `service.api.problems` turns them into problem+json at the edge.
What makes a *session* fail is a `FailureCode` of `service.schemas`, not an exception from here.
"""

from typing import ClassVar

from service.problem import FieldError, ProblemCode


class ServiceError(Exception):
    """A request that cannot be done. `detail` is a sentence that says what to do."""

    code: ClassVar[ProblemCode]
    status: ClassVar[int]
    title: ClassVar[str]

    def __init__(
        self,
        detail: str,
        *,
        errors: list[FieldError] | None = None,
        known: list[str] | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors
        self.known = known
        self.retry_after_s = retry_after_s


class InvalidRequest(ServiceError):
    code, status, title = "invalid_request", 422, "The request is not valid"


class Unauthorized(ServiceError):
    code, status, title = "unauthorized", 401, "This needs an API key"


class MissingScope(ServiceError):
    code, status, title = "missing_scope", 403, "The API key does not allow this"


class OriginForbidden(ServiceError):
    code, status, title = "origin_forbidden", 403, "Pages of this origin may not do this"


class RateLimited(ServiceError):
    code, status, title = "rate_limited", 429, "The API key asks too often"


class SessionLimit(ServiceError):
    code, status, title = "session_limit", 429, "The API key has as many sessions as it may"


class StorageLimit(ServiceError):
    code, status, title = "storage_limit", 429, "The API key stores as much as it may"


class NotFound(ServiceError):
    code, status, title = "not_found", 404, "There is no such thing"


class UnknownModel(ServiceError):
    code, status, title = "unknown_model", 422, "There is no such model"


class UnknownLabel(ServiceError):
    code, status, title = "unknown_label", 422, "The model does not know this label"


class SourceNotAllowed(ServiceError):
    code, status, title = "source_forbidden", 403, "This source may not be opened"


class RequestTimeout(ServiceError):
    code, status, title = "request_timeout", 408, "The request did not come in time"


class TooLarge(ServiceError):
    code, status, title = "too_large", 413, "The request is too large"


class UnsupportedMediaType(ServiceError):
    code, status, title = "unsupported_media_type", 415, "The content type is not supported"


class IdempotencyConflict(ServiceError):
    """The same Idempotency-Key came before with another body."""

    code, status, title = "idempotency_conflict", 409, "The idempotency key was used for another request"


class NotAPush(ServiceError):
    code, status, title = "not_a_push", 409, "This session fetches its video itself"


class PushConflict(ServiceError):
    code, status, title = "push_conflict", 409, "A stream is being pushed to this session already"


class PushEnded(ServiceError):
    code, status, title = "push_ended", 409, "The session takes no stream any more"


class OverCapacity(ServiceError):
    code, status, title = "over_capacity", 503, "There is no capacity for this session now"


class NotReady(ServiceError):
    code, status, title = "not_ready", 503, "The service is not ready"


class StoreUnavailable(ServiceError):
    """The store did not answer in time, or refused."""

    code, status, title = "store_unavailable", 503, "The store is not available"


class StorageFull(ServiceError):
    code, status, title = "storage_full", 507, "There is no space left"
