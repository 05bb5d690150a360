"""Request errors: one exception, one stable code and one HTTP status each. `service.problems` is their wire format.

Raise them where the failure happens; `service.api.error_responses` turns them into HTTP responses. A failed *session*
has a `FailureCode` of `service.schemas` instead.
"""

from typing import ClassVar

from service.problems import FieldError, ProblemCode


class ServiceError(Exception):
    """A request that failed. `detail` says what is wrong and what to do."""

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


class InvalidRequestError(ServiceError):
    """A field, parameter or header of the request is invalid, or the request does not fit the session's state."""

    code, status, title = "invalid_request", 422, "Invalid request"


class UnauthorizedError(ServiceError):
    """The request has no API key, an unknown or revoked one, or a used ticket."""

    code, status, title = "unauthorized", 401, "Authentication required"


class MissingScopeError(ServiceError):
    """The API key lacks the scope that the request needs."""

    code, status, title = "missing_scope", 403, "Insufficient scope"


class NoRoleError(ServiceError):
    """The person is known, but none of their groups has a role."""

    code, status, title = "no_role", 403, "No role"


class OriginForbiddenError(ServiceError):
    """A browser sent the request from a page of an origin that is not allowed."""

    code, status, title = "origin_forbidden", 403, "Origin not allowed"


class HostForbiddenError(ServiceError):
    """The Host header names a host that this server does not serve."""

    code, status, title = "host_forbidden", 403, "Host not allowed"


class NotFoundError(ServiceError):
    """The session, subscription, event or file does not exist, or belongs to another API key."""

    # Its subclasses have other codes.
    code: ClassVar[ProblemCode] = "not_found"
    status, title = 404, "Not found"


class ClipPendingError(NotFoundError):
    """The clip of the action is still being recorded."""

    code, status, title = "clip_pending", 404, "Clip not complete yet"


class ClipNotKeptError(NotFoundError):
    """Clips of this action are not kept."""

    code, status, title = "clip_not_kept", 404, "Clips of this action are off"


class ClipLostError(NotFoundError):
    """The clip of the action was never stored, or was deleted."""

    code, status, title = "clip_lost", 404, "Clip lost"


class MethodNotAllowedError(ServiceError):
    """The path does not support the method."""

    code, status, title = "method_not_allowed", 405, "Method not allowed"


class UnknownModelError(ServiceError):
    """No worker has loaded the model. `known` lists those that are loaded."""

    code, status, title = "unknown_model", 422, "Unknown model"


class UnknownLabelError(ServiceError):
    """The model does not detect the label. `known` lists its labels."""

    code, status, title = "unknown_label", 422, "Unknown label"


class SourceRejectedError(ServiceError):
    """The server does not open the scheme or address of the source."""

    code, status, title = "source_forbidden", 403, "Source not allowed"


class WebhookRejectedError(ServiceError):
    """The server does not send to the address of the webhook."""

    code, status, title = "webhook_forbidden", 403, "Webhook address not allowed"


class RequestTimeoutError(ServiceError):
    """The request or its body arrived too slowly."""

    code, status, title = "request_timeout", 408, "Request timeout"


class TooLargeError(ServiceError):
    """The upload or the body exceeds its limit."""

    code, status, title = "too_large", 413, "Request too large"


class UnsupportedMediaTypeError(ServiceError):
    """The content type of the body is not supported."""

    code, status, title = "unsupported_media_type", 415, "Unsupported media type"


class RangeNotSatisfiableError(ServiceError):
    """The `Range` of a request lies outside the file, or is malformed. `size_bytes` is the size of the file."""

    code, status, title = "range_not_satisfiable", 416, "Range not satisfiable"

    def __init__(self, detail: str, *, size_bytes: int) -> None:
        super().__init__(detail)
        self.size_bytes = size_bytes


class UpgradeRequiredError(ServiceError):
    """A WebSocket handshake arrived without its Upgrade header."""

    code, status, title = "upgrade_required", 426, "Upgrade required"


class IdempotencyConflictError(ServiceError):
    """The same Idempotency-Key was used with a different body."""

    code, status, title = "idempotency_conflict", 409, "Idempotency key reused"


class NotAPushError(ServiceError):
    """A stream was pushed to a session that opens its source itself."""

    code, status, title = "not_a_push", 409, "Not a push session"


class PushConflictError(ServiceError):
    """Another stream is being pushed to the session."""

    code, status, title = "push_conflict", 409, "Stream already active"


class PushEndedError(ServiceError):
    """A stream was pushed to a session that has ended."""

    code, status, title = "push_ended", 409, "Session has ended; stream rejected"


class SessionEndedError(ServiceError):
    """The request would change rules, labels or model of an ended session."""

    code, status, title = "session_ended", 409, "Session has ended"


class NotRetryableError(ServiceError):
    """The session to retry is still running, or the server cannot fetch its video."""

    code, status, title = "not_retryable", 409, "Session cannot be retried"


class NotPlayableError(ServiceError):
    """No clip can be made of the video."""

    code, status, title = "not_playable", 409, "No playable clip"


class InvalidModelError(ServiceError):
    """An uploaded archive holds no checkpoint that could be loaded."""

    code, status, title = "invalid_model", 422, "Invalid model"


class ModelInUseError(ServiceError):
    """The model to delete is used by sessions."""

    code, status, title = "model_in_use", 409, "Model in use"


class ModelConfiguredError(ServiceError):
    """The model to replace or delete is named by the settings of the workers."""

    code, status, title = "model_configured", 409, "Model is part of the configuration"


class RateLimitError(ServiceError):
    """The API key exceeded its rate limit."""

    code, status, title = "rate_limited", 429, "Rate limit exceeded"


class SessionLimitError(ServiceError):
    """The API key has as many unfinished sessions as its limit allows."""

    code, status, title = "session_limit", 429, "Session limit reached"


class StorageLimitError(ServiceError):
    """The uploads of the API key would exceed its storage quota."""

    code, status, title = "storage_limit", 429, "Storage quota exceeded"


class StreamLimitError(ServiceError):
    """The client has as many open streams as its limit allows."""

    code, status, title = "stream_limit", 429, "Stream limit reached"


class SubscriptionLimitError(ServiceError):
    """The API key, or the store, has as many subscriptions as its limit allows."""

    code, status, title = "subscription_limit", 429, "Subscription limit reached"


class ModelLimitError(ServiceError):
    """The limit of stored versions of uploaded models is reached."""

    code, status, title = "model_limit", 429, "Model limit reached"


class InternalError(ServiceError):
    """An unexpected exception, which the server has logged."""

    code, status, title = "internal", 500, "Internal server error"


class OverCapacityError(ServiceError):
    """The workers have no capacity for the session."""

    code, status, title = "over_capacity", 503, "Over capacity"


class NotReadyError(ServiceError):
    """No worker is ready, or none has loaded the model."""

    code, status, title = "not_ready", 503, "Service not ready"


class IdentityUnavailableError(ServiceError):
    """The identity provider does not answer, so its tokens cannot be checked."""

    code, status, title = "identity_unavailable", 503, "Identity provider unavailable"


class StoreUnavailableError(ServiceError):
    """The store did not answer in time, or returned an error."""

    code, status, title = "store_unavailable", 503, "Store unavailable"


class StoreLateError(StoreUnavailableError):
    """The store did not answer in time, but may be working."""


class StorageFullError(ServiceError):
    """The disk or the bucket is full."""

    code, status, title = "storage_full", 507, "Storage full"
