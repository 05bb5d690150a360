"""A request that was refused, on the wire: RFC 9457 problem details."""

from typing import Literal

from pydantic import Field

from service.schemas import Wire

ProblemCode = Literal[
    "invalid_request",
    "unauthorized",
    "missing_scope",
    "origin_forbidden",
    "not_found",
    "method_not_allowed",
    "unknown_model",
    "unknown_label",
    "source_forbidden",
    "request_timeout",
    "too_large",
    "unsupported_media_type",
    "idempotency_conflict",
    "not_a_push",
    "push_conflict",
    "push_ended",
    "rate_limited",
    "session_limit",
    "storage_limit",
    "over_capacity",
    "not_ready",
    "store_unavailable",
    "storage_full",
    "internal",
]


class FieldError(Wire):
    field: str = Field(examples=["source.url"])
    message: str


class ProblemBody(Wire):
    """RFC 9457 problem details; `code` is stable, `detail` says what to do."""

    type: str = Field(examples=["about:blank"])
    title: str
    status: int
    detail: str
    code: ProblemCode
    instance: str = Field(description="Path of the request.")
    errors: list[FieldError] | None = Field(default=None, description="With `invalid_request`: the fields at fault.")
    known: list[str] | None = Field(
        default=None, description="With `unknown_model`, `unknown_label`: what may be named."
    )
