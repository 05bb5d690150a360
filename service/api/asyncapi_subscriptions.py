"""The part of the AsyncAPI description that is about subscriptions: webhooks, CloudEvents, MQTT and Redis streams."""

from collections.abc import Iterable
from typing import Any

_TOPIC = {
    "topic": {"description": "`target.topic` of the subscription.", "default": "cake"},
    "camera": {"description": "Id of the session, or its name with `identify: name`."},
}
_SENSOR = _TOPIC | {"label": {"description": "The action; in sessions with regions `REGION--LABEL`."}}
_MESSAGES = {
    "CloudEvent": {
        "title": "An event as CloudEvent 1.0 in structured mode",
        "contentType": "application/cloudevents+json",
        "payload": {
            "type": "object",
            "required": ["specversion", "id", "source", "type", "time", "datacontenttype", "data"],
            "properties": {
                "specversion": {"const": "1.0"},
                "id": {"type": "string", "description": "`SESSION_EVENT`, the same for each attempt."},
                "source": {"type": "string", "description": "`/v1/sessions/SESSION`."},
                "type": {"type": "string", "description": "`cake.` and the type of the event."},
                "time": {"type": "string", "format": "date-time"},
                "subject": {"type": "string", "description": "The label of a start or end."},
                "traceparent": {"type": "string", "description": "W3C trace context."},
                "datacontenttype": {"const": "application/json"},
                # Any event.
                "data": {"$ref": "#/components/schemas/LogEntry/properties/event"},
            },
        },
    },
    "StreamEntry": {
        "title": "An entry of a Redis stream",
        "payload": {
            "type": "object",
            "required": ["id", "type", "source", "data"],
            "properties": {
                "id": {"type": "string", "description": "`SESSION_EVENT`, the same for each attempt."},
                "type": {"type": "string", "description": "The type of the event."},
                "source": {"type": "string", "description": "`/v1/sessions/SESSION`."},
                "data": {"type": "string", "description": "The event as JSON."},
                "traceparent": {"type": "string", "description": "W3C trace context."},
            },
        },
    },
    "SensorState": {
        "title": "Whether an action is in progress",
        "contentType": "text/plain",
        "payload": {"type": "string", "enum": ["ON", "OFF"]},
    },
    "SwitchPosition": {
        "title": "Whether the actions of a camera are reported",
        "contentType": "text/plain",
        "payload": {"type": "string", "enum": ["ON", "OFF"]},
    },
    "Image": {
        "title": "A snapshot from about the start of an action",
        "contentType": "image/jpeg",
        "payload": {"type": "string", "format": "binary"},
    },
    "Device": {
        "title": "A session as a device of Home Assistant; empty when it is removed",
        "payload": {"type": "object"},
        "externalDocs": {"url": "https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery"},
    },
    "Trial": {"title": "A test message", "payload": {"$ref": "#/components/schemas/Trial"}},
    "Availability": {
        "title": "Whether events are delivered, or a session runs",
        "contentType": "text/plain",
        "payload": {"type": "string", "enum": ["online", "offline"]},
    },
}


def subscription_channels(event_names: Iterable[str]) -> dict[str, Any]:
    """Channels by name. `event_names` are the messages of events."""
    events = {name: {"$ref": f"#/components/messages/{name}"} for name in event_names}
    return {
        "subscriptionWebhook": {
            "address": None,
            "description": "`target.url` of a subscription to a webhook. The body is the event, or a CloudEvent.",
            "messages": {
                **{f"{name}Delivery": {"$ref": f"#/components/messages/{name}Delivery"} for name in events},
                **_message("CloudEvent"),
                **_message("Trial"),
            },
        },
        "redisStream": _channel(
            "{stream}",
            "`target.stream` of a subscription: each event as an entry.",
            {"stream": {"description": "Key of the stream.", "default": "cake:events"}},
            _message("StreamEntry"),
        ),
        **_mqtt_channels(events),
        **_home_assistant_channels(),
    }


def _mqtt_channels(events: dict[str, Any]) -> dict[str, Any]:
    return {
        "mqttEvents": _channel("{topic}/{camera}/{label}/event", "The last start or end of a label.", _SENSOR, events),
        "mqttSessionEvents": _channel("{topic}/{camera}/event", "The last event without a label.", _TOPIC, events),
        "mqttState": _channel(
            "{topic}/{camera}/{label}/state", "Whether an action is in progress.", _SENSOR, _message("SensorState")
        ),
        "mqttSessionStatus": _channel(
            "{topic}/{camera}/status", "Whether the session runs.", _TOPIC, _message("Availability")
        ),
        "mqttStatus": _channel(
            "{topic}/status",
            "Whether events are delivered; `offline` is the last will.",
            {"topic": _TOPIC["topic"]},
            _message("Availability"),
        ),
        "mqttTest": _channel("{topic}/test", "Test messages.", {"topic": _TOPIC["topic"]}, _message("Trial")),
    }


def _home_assistant_channels() -> dict[str, Any]:
    """With `target.home_assistant`."""
    discovery = {
        "discovery_prefix": {"description": "Home Assistant's prefix.", "default": "homeassistant"},
        "device": {"description": "Id of the device: `cake_TOPIC_CAMERA`."},
    }
    position = _message("SwitchPosition")
    return {
        "mqttDevice": _channel(
            "{discovery_prefix}/device/{device}/config", "The device of a session.", discovery, _message("Device")
        ),
        "mqttImage": _channel("{topic}/{camera}/image", "The last action.", _TOPIC, _message("Image")),
        "mqttReporting": _channel("{topic}/{camera}/reporting", "Whether actions are reported.", _TOPIC, position),
        "mqttReportingCommand": _channel("{topic}/{camera}/reporting/set", "Pauses reports.", _TOPIC, position),
    }


def subscription_operations() -> dict[str, Any]:
    """Operations by name."""
    post = {"http": {"method": "POST"}}
    retained = {"mqtt": {"qos": 1, "retain": True}}
    return {
        "postSubscription": _operation("subscriptionWebhook", "Post the events of a subscription, signed.", post),
        "addToStream": _operation("redisStream", "Add each event with XADD.", {"redis": {}}),
        "publishEvent": _operation("mqttEvents", "Publish starts and ends.", retained),
        "publishSessionEvent": _operation("mqttSessionEvents", "Publish other events.", retained),
        "publishState": _operation("mqttState", "Publish whether an action is in progress.", retained),
        "publishSessionStatus": _operation("mqttSessionStatus", "Publish whether a session runs.", retained),
        "publishStatus": _operation("mqttStatus", "Publish whether events are delivered.", retained),
        "publishDevice": _operation("mqttDevice", "Announce a session to Home Assistant.", retained),
        "publishImage": _operation("mqttImage", "Publish an image with each start.", retained),
        "publishReporting": _operation("mqttReporting", "Confirm the position of the switch.", retained),
        "switchReporting": {
            "action": "receive",
            "channel": {"$ref": "#/channels/mqttReportingCommand"},
            "summary": "Pause or resume the reports of a camera.",
            "bindings": retained,
        },
        "publishTest": _operation("mqttTest", "Publish a test message.", {"mqtt": {"qos": 1}}),
    }


def subscription_messages() -> dict[str, Any]:
    """Messages by name, in addition to those of events."""
    return dict(_MESSAGES)


def _message(name: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/messages/{name}"}}


def _channel(address: str, description: str, parameters: Any, messages: dict[str, Any]) -> dict[str, Any]:
    return {"address": address, "description": description, "parameters": parameters, "messages": messages}


def _operation(channel: str, summary: str, bindings: dict[str, Any]) -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": f"{summary} In order, at least once.",
        "bindings": bindings,
    }
