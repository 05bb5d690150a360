"""The errors of this package. Every error has a stable `code` and a `detail` that says what is wrong and what to do."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REPEATABLE_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses of requests that may succeed later. Proxies send 502 and 504 while a server restarts."""


class CakeError(Exception):
    """Base of this package's errors."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class UnreachableError(CakeError):
    """The server cannot be reached, or the connection broke. The same request may succeed later."""

    def __init__(self, server: str, cause: str) -> None:
        super().__init__(
            "unreachable",
            f"The connection to {server} failed ({cause}). Check the address and that the server is running.",
        )


class UnexpectedResponseError(CakeError):
    """The response is not from CAKE, for example because a proxy sent it."""

    def __init__(self, detail: str) -> None:
        super().__init__("unexpected_response", detail)


class AccessRevokedError(CakeError):
    """The API key was revoked while a stream was open, or a key is now required."""

    def __init__(self) -> None:
        super().__init__(
            "unauthorized", "The API key was revoked, or the server requires one now. Connect with a valid key."
        )


class PushInterruptedError(CakeError):
    """The server no longer reads a pushed stream. Push again, from the beginning of a stream."""

    def __init__(self, reason: str) -> None:
        super().__init__("push_interrupted", f"{reason.rstrip('.')}. Push again, from the beginning of a stream.")


class WebhookError(CakeError):
    """A delivery whose signature or content is invalid. Respond with 400."""

    def __init__(self, detail: str) -> None:
        super().__init__("invalid_webhook", detail)


@dataclass(frozen=True)
class Problem:
    """The body of an error response (RFC 9457). `more` holds all fields, including those that this version does not
    know.
    """

    code: str
    detail: str
    more: Mapping[str, Any]


class ApiError(CakeError):
    """The server rejected a request."""

    def __init__(self, status: int, problem: Problem, retry_after_s: float | None) -> None:
        super().__init__(problem.code, problem.detail)
        self.status = status
        self.problem = problem
        self.retry_after_s = retry_after_s

    @property
    def is_repeatable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in REPEATABLE_STATUSES


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """The error in a response with status 400 or above."""
    retry_after = headers.get("Retry-After", "")
    return ApiError(status, _problem_of(status, body), float(retry_after) if retry_after.isdecimal() else None)


def _problem_of(status: int, body: bytes) -> Problem:
    try:
        fields = json.loads(body)
        return Problem(str(fields["code"]), str(fields["detail"]), fields)
    except (ValueError, KeyError, TypeError):
        detail = f"The server, or a proxy in front of it, answered with status {status}. Check the server's address."
        return Problem(f"http_{status}", detail, {})
