"""The AsyncAPI 3 description of what OpenAPI cannot: WebSockets, server-sent events, webhooks and subscriptions.

Its schemas are generated from the types of `service.schemas`. Actions are those of the server: it sends events.
"""

from functools import cache
from inspect import signature
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema
from starlette.requests import HTTPConnection

from service.api.asyncapi_subscriptions import (
    subscription_channels,
    subscription_messages,
    subscription_operations,
)
from service.api.event_parameters import get_event_filter
from service.api.openapi import remove_null
from service.event_schemas import Cursor, Event, EventBase, EventId, LogEntry
from service.live_schemas import LiveMessage
from service.schemas import Schema
from service.subscriptions.target import Trial

DESCRIPTION = """
Events of sessions as a client receives them. `GET /openapi.json` describes everything else, authentication included.
Browsers open streams with a ticket of `POST /v1/tickets`. A client that resumes after the last event that it received
gets each event once, in order.
"""
_EVENT_TYPES: tuple[type[EventBase], ...] = get_args(get_args(Event)[0])
_LIVE_TYPES: tuple[type[Schema], ...] = get_args(get_args(LiveMessage)[0])
_PARAMETERS = {"session_id": {"description": "Id of the session."}}
_TICKET = {"type": "string", "description": "A ticket of `POST /v1/tickets`, instead of an API key."}
_CLOSE_CODES = (
    "Close codes: 1000 the session has ended and every event was sent; 1008 the API key was revoked; 1012 the server is"
    " stopping; 1013 the client is too slow, or the store is unavailable. After 1012 and 1013, resume with `after`."
)
_WEBHOOK_HEADERS = {
    "type": "object",
    "required": ["webhook-id", "webhook-timestamp", "webhook-signature"],
    "properties": {
        "webhook-id": {"type": "string", "description": "`SESSION_EVENT`, the same for each attempt."},
        "webhook-timestamp": {"type": "string", "description": "Unix time of the attempt, in seconds."},
        "webhook-signature": {
            "type": "string",
            "description": "`v1,` and an HMAC-SHA256 in base64, as Standard Webhooks defines it; two of them, separated"
            " by a space, while a secret is being replaced.",
        },
    },
}


@cache
def describe_streams(version: str, root_path: str) -> dict[str, Any]:
    """The description, for a server below the path prefix `root_path`."""
    session = f"{root_path}/v1/sessions/{{session_id}}"
    events = {event.__name__: _component("messages", event.__name__) for event in _EVENT_TYPES}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "CAKE events", "version": version, "description": DESCRIPTION.strip()},
        "defaultContentType": "application/json",
        "channels": {
            "sessionEvents": {
                "address": f"{session}/events",
                "description": f"Events of one session, by WebSocket or as server-sent events. {_CLOSE_CODES}",
                "parameters": _PARAMETERS,
                "messages": events,
                "bindings": {"ws": {"query": _stream_query(TypeAdapter(EventId), "an event id")}},
            },
            "allEvents": {
                "address": f"{root_path}/v1/events",
                "description": "Events of all sessions that the caller can see, each with a cursor, by WebSocket or as"
                f" server-sent events. Without `after`, only new events. {_CLOSE_CODES}",
                "messages": {"LogEntry": _component("messages", "LogEntry")},
                "bindings": {"ws": {"query": _stream_query(TypeAdapter(Cursor), "a cursor")}},
            },
            "sessionStream": {
                "address": f"{session}/stream",
                "description": "Video that a client pushes to a session whose source is `push`. Close with 1000 at its"
                " end.",
                "parameters": _PARAMETERS,
                "messages": {"VideoChunk": _component("messages", "VideoChunk")},
                "bindings": {"ws": {"query": {"type": "object", "properties": {"ticket": _TICKET}}}},
            },
            "liveVideo": _live_channel(session),
            "webhook": {
                "address": None,
                "description": "The address that the client chose as `webhook.url`. A receiver answers with 2xx within"
                " 10 s.",
                "messages": {f"{name}Delivery": _component("messages", f"{name}Delivery") for name in events},
            },
            **subscription_channels(events),
        },
        "operations": {
            "followSession": _operation("send", "sessionEvents", "Follow a session by WebSocket.", ws={}),
            "streamSession": _operation(
                "send",
                "sessionEvents",
                "Follow a session with `Accept: text/event-stream`; each message has the event's id.",
                http={"method": "GET"},
            ),
            "followAll": _operation("send", "allEvents", "Follow all sessions by WebSocket.", ws={}),
            "streamAll": _operation(
                "send",
                "allEvents",
                "Follow all sessions with `Accept: text/event-stream`; each message has the cursor as its id.",
                http={"method": "GET"},
            ),
            "pushVideo": _operation("receive", "sessionStream", "Receive a pushed video.", ws={}),
            "watchSession": _operation("send", "liveVideo", "Watch a live session by WebSocket.", ws={}),
            "deliverWebhook": {
                "action": "send",
                "channel": {"$ref": "#/channels/webhook"},
                "summary": "Post each event of a session, signed, in order, at least once.",
                "bindings": {"http": {"method": "POST"}},
            },
            **subscription_operations(),
        },
        "components": {
            "schemas": _schemas(),
            "messages": _messages(),
            "securitySchemes": {"ApiKey": {"type": "http", "scheme": "bearer", "description": "An API key."}},
        },
    }


def _component(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def _operation(action: str, channel: str, summary: str, **bindings: dict[str, str]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "security": [_component("securitySchemes", "ApiKey")],
        "bindings": bindings,
    }


def _live_channel(session: str) -> dict[str, Any]:
    video = {
        "type": "boolean",
        "default": True,
        "description": "Whether to send video. If false, only scores are sent.",
    }
    names = [live.__name__ for live in _LIVE_TYPES] + ["VideoFragment"]
    return {
        "address": f"{session}/live",
        "description": "Video and scores of a live session as they arrive, for viewers. Earlier ones are not sent."
        " The binary messages after a `video.began` are one fragmented MP4, for Media Source Extensions; they begin"
        " with the last keyframe. A viewer that is too slow misses messages, and its video continues with a keyframe."
        " Close codes: 1000 the session has ended; 1008 the API key was revoked; 1012 the server is stopping; 1013 the"
        " client is too slow, or the session moves to another worker. Connect again after 1012 and 1013. Needs the"
        " scope `sessions:read`.",
        "parameters": _PARAMETERS,
        "messages": {name: _component("messages", name) for name in names},
        "bindings": {"ws": {"query": {"type": "object", "properties": {"video": video, "ticket": _TICKET}}}},
    }


def _stream_query(position: TypeAdapter[str], noun: str) -> dict[str, Any]:
    after = position.json_schema() | {"description": f"Resume after {noun}."}
    return {"type": "object", "properties": {**_filters(), "after": after, "ticket": _TICKET}}


def _filters() -> dict[str, Any]:
    """The parameters that filter events, as the routes declare them."""
    found: dict[str, Any] = {}
    for name, parameter in signature(get_event_filter).parameters.items():
        if parameter.annotation is not HTTPConnection:
            _, declared = get_args(parameter.annotation)
            schema = found[declared.alias or name] = TypeAdapter(parameter.annotation).json_schema()
            remove_null(schema)
    return found


def _messages() -> dict[str, Any]:
    messages: dict[str, Any] = {
        **subscription_messages(),
        "LogEntry": {"title": "An event and its cursor", "payload": _component("schemas", "LogEntry")},
        "VideoChunk": {
            "title": "At most 64 KiB of MPEG-TS, Matroska, WebM or fragmented MP4",
            "contentType": "application/octet-stream",
            "payload": {"type": "string", "format": "binary"},
        },
    }
    messages["VideoFragment"] = {
        "title": "The beginning of an MP4, or its next fragment",
        "contentType": "video/mp4",
        "payload": {"type": "string", "format": "binary"},
    }
    for live in _LIVE_TYPES:
        kind = live.model_fields["type"]
        messages[live.__name__] = {
            "name": kind.default,
            "title": kind.description,
            "payload": _component("schemas", live.__name__),
        }
    for event in _EVENT_TYPES:
        kind = event.model_fields["type"]
        messages[event.__name__] = {
            "name": kind.default,
            "title": kind.description,
            "payload": _component("schemas", event.__name__),
        }
        messages[f"{event.__name__}Delivery"] = messages[event.__name__] | {"headers": _WEBHOOK_HEADERS}
    return messages


def _schemas() -> dict[str, Any]:
    models: list[type[BaseModel]] = [*_EVENT_TYPES, *_LIVE_TYPES, LogEntry, Trial]
    _, schema = models_json_schema(
        [(model, "serialization") for model in models], ref_template="#/components/schemas/{model}"
    )
    schemas: dict[str, Any] = _with_named_discriminators(schema["$defs"])
    for described in schemas.values():
        _allow_absent_nulls(described)
    return schemas


def _allow_absent_nulls(schema: dict[str, Any]) -> None:
    """Streams send fields that are null; deliveries leave them out."""
    if "required" in schema:
        kinds = {name: value.get("anyOf", ()) for name, value in schema["properties"].items()}
        schema["required"] = [name for name in schema["required"] if {"type": "null"} not in kinds[name]]


def _with_named_discriminators(schema: Any) -> Any:
    """OpenAPI's discriminator is an object, AsyncAPI's the name of the property."""
    match schema:
        case dict():
            return {
                name: value["propertyName"]
                if name == "discriminator" and isinstance(value, dict)
                else _with_named_discriminators(value)
                for name, value in schema.items()
            }
        case list():
            return [_with_named_discriminators(item) for item in schema]
    return schema
