"""The OpenAPI description: FastAPI's, with the schemas of problems and of bodies that are read by hand."""

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from service.api.error_responses import problem_responses
from service.event_schemas import LogEntry
from service.problems import ProblemBody
from service.requests import SessionRequest, UploadOptions

DESCRIPTION = """
CAKE watches video and reports the moment an action starts. Submit a session with `POST /v1/sessions` and follow its
events.

**Events.** `GET /v1/sessions/{id}/events` returns pages of events as JSON, and streams them with
`Accept: text/event-stream`. A WebSocket on the same path sends one event per message. All three accept `after=ID` (SSE
also `Last-Event-ID`), send the events that the client missed and then live events, in order and without duplicates. The
path `/v1/events` does the same for all sessions that the caller can see. Each message is a `LogEntry`; pass its
`cursor` as `after` to resume. Without `after`, streams send only new events, and pages begin with the newest. All
accept the same filters. Close codes: 1000 the session has ended, 1008 the API key was revoked, 1012 the server is
stopping, 1013 the client fell behind or the store is unavailable.

**Authentication.** Once an API key exists, every request except the health checks requires one, sent as
`Authorization: Bearer KEY`, also with WebSocket handshakes. Each operation names the scope that it requires. A key sees
its own sessions; a key with the scope `admin` sees all sessions. Browsers cannot send headers with a WebSocket or an
EventSource: get a ticket with `POST /v1/tickets` and pass it as `?ticket=`. It opens one stream within 30 s. An
EventSource that lost its connection needs a new ticket and `after`. Requests beyond a key's limits are answered with
429 and `Retry-After`.

**Admission.** Workers measure their capacity in steps per second. A `realtime` session reserves its model's
`sample_hz`; a `fast` session reserves a small fixed share and uses free capacity. Each region counts like a session. A
session that does not fit is answered with 503 and `Retry-After`.

**Errors** are `application/problem+json` (RFC 9457). `code` is stable; `detail` says what is wrong and what to do.
"""


def complete_openapi(app: FastAPI) -> None:
    """Make `app.openapi()` return the completed description."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(generate())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _completed(schema: dict[str, Any]) -> dict[str, Any]:
    _, definitions = models_json_schema(
        [
            (SessionRequest, "validation"),
            (UploadOptions, "validation"),
            (LogEntry, "serialization"),
            (ProblemBody, "serialization"),
        ],
        ref_template="#/components/schemas/{model}",
    )
    schema["components"]["schemas"] = definitions["$defs"] | schema["components"]["schemas"]
    for name, described in schema["components"]["schemas"].items():
        # Titles of schemas that differ between requests and responses. Generators name classes by title; if two have
        # the same title, they drop both, and everything that refers to them.
        if name.endswith(("-Input", "-Output")):
            described["title"] = name.replace("-", "")
    for path in schema["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                remove_null(parameter["schema"])
            if "application/json" in operation.get("requestBody", {}).get("content", {}):
                _add_limits_of_bodies(operation["responses"])
    return schema


def _add_limits_of_bodies(responses: dict[str, Any]) -> None:
    """JSON bodies are limited in size and in time before a route sees them."""
    for status, response in problem_responses(408, 413).items():
        responses.setdefault(str(status), response)


def remove_null(schema: dict[str, Any]) -> None:
    """A parameter may be absent, but a query or header cannot be null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del schema["anyOf"]
        schema.update(kinds[0])
