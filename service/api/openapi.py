"""The OpenAPI description: FastAPI's, with problems under their own content type and the hand-read bodies' schemas."""

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from service.api.problems import MEDIA_TYPE
from service.requests import SessionOptions, SessionRequest
from service.schemas import LogEntry

DESCRIPTION = """
CAKE watches video and says the moment an action starts. Submit a video with `POST /v1/sessions`, follow its events.

**Live events.** `GET /v1/sessions/{id}/events` pages through them as JSON, streams them with
`Accept: text/event-stream`, and a WebSocket on the same path gets one event per message. All three take `after=ID`
(SSE also `Last-Event-ID`), send what was missed and then what is new, in order, nothing twice. The WebSocket
`/v1/events` follows all sessions that the caller sees: each message is a `LogEntry` whose `cursor` is passed as `after`
to resume; without `after` it starts with the present. Close codes: 1000 the session has ended, 1008 the key was
revoked, 1012 the server stops, 1013 the client is too slow or the store is away.

**Who may.** Once the operator has made an API key, every request but the health checks needs one, as
`Authorization: Bearer …`, WebSocket handshakes included; each operation names its scope. A key sees its own sessions,
one of the scope `admin` those of all. Browsers, which can send no header with a WebSocket or an EventSource, fetch a
ticket from `POST /v1/tickets` and pass it as `?ticket=`: it opens one stream, within 30 s. An EventSource that lost its
connection needs a new ticket, and `after`. Beyond a key's limits the answer is 429 with `Retry-After`.

**Admission.** Workers measure what they can do in steps per second. A `realtime` session sets its model's `sample_hz`
aside, a `fast` one a small fixed share and uses what is free. What does not fit gets 503 with `Retry-After`.

**Errors** are `application/problem+json` (RFC 9457) with a stable `code` and a `detail` that says what to do.
"""


def describe(app: FastAPI) -> None:
    """Make `app.openapi()` return the whole description."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(generate())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _completed(schema: dict[str, Any]) -> dict[str, Any]:
    _, definitions = models_json_schema(
        [(SessionRequest, "validation"), (SessionOptions, "validation"), (LogEntry, "serialization")],
        ref_template="#/components/schemas/{model}",
    )
    schema["components"]["schemas"] = definitions["$defs"] | schema["components"]["schemas"]
    for path in schema["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                _leave_out_null(parameter["schema"])
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    response["content"] = {MEDIA_TYPE: next(iter(response["content"].values()))}
    return schema


def _leave_out_null(schema: dict[str, Any]) -> None:
    """A parameter may be absent, but no query or header can say null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del schema["anyOf"]
        schema.update(kinds[0])
