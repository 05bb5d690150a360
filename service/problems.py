"""What a failed request gets: problem details (RFC 9457). `service.errors` has an exception for each code."""

from typing import Literal

from pydantic import ConfigDict, Field

from service.schemas import Schema

ProblemCode = Literal[
    "invalid_request",
    "unauthorized",
    "missing_scope",
    "no_role",
    "origin_forbidden",
    "host_forbidden",
    "not_found",
    "clip_pending",
    "clip_not_kept",
    "clip_lost",
    "method_not_allowed",
    "unknown_model",
    "unknown_label",
    "source_forbidden",
    "webhook_forbidden",
    "request_timeout",
    "too_large",
    "unsupported_media_type",
    "range_not_satisfiable",
    "upgrade_required",
    "idempotency_conflict",
    "not_a_push",
    "push_conflict",
    "push_ended",
    "session_ended",
    "not_retryable",
    "not_playable",
    "invalid_model",
    "model_in_use",
    "model_configured",
    "rate_limited",
    "session_limit",
    "storage_limit",
    "stream_limit",
    "subscription_limit",
    "model_limit",
    "over_capacity",
    "not_ready",
    "identity_unavailable",
    "store_unavailable",
    "storage_full",
    "internal",
]


class FieldError(Schema):
    """One invalid field of a request."""

    field: str = Field(description="Path of the field in the request.", examples=["source.url"])
    message: str = Field(description="What is wrong with it.")


class ProblemBody(Schema):
    """Problem details of RFC 9457. `code` is stable; `detail` says what is wrong and what to do."""

    # Null fields are omitted.
    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    type: str = Field(description="Always `about:blank`; `code` identifies the problem.", examples=["about:blank"])
    title: str = Field(description="Short summary of the problem; the same for every occurrence of `code`.")
    status: int = Field(description="HTTP status code.")
    detail: str = Field(description="What is wrong with this request and what to do about it.")
    code: ProblemCode = Field(description="Stable identifier of the problem.")
    instance: str = Field(description="Path of the request.")
    errors: list[FieldError] | None = Field(default=None, description="With `invalid_request`: the invalid fields.")
    known: list[str] | None = Field(
        default=None, description="With `unknown_model` and `unknown_label`: the names that exist."
    )
