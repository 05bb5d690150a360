"""CloudEvents 1.0 (https://cloudevents.io) over HTTP, in structured and in binary content mode."""

import json
import urllib.parse

from service.subscriptions.target import TargetMessage

TYPE_PREFIX = "cake."
_UNQUOTED = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


def structured(message: TargetMessage) -> tuple[dict[str, str], bytes]:
    """Headers and body; the body holds the attributes and, as `data`, the event."""
    event = {**_attributes(message), "datacontenttype": "application/json", "data": json.loads(message.body)}
    return {"content-type": "application/cloudevents+json; charset=utf-8"}, json.dumps(event).encode()


def binary(message: TargetMessage) -> tuple[dict[str, str], bytes]:
    """Headers and body; the headers hold the attributes, and the body is the event."""
    # Values of headers are percent-encoded where HTTP or the binding requires it (HTTP protocol binding, 3.1.3.2).
    headers = {f"ce-{name}": urllib.parse.quote(value, safe=_UNQUOTED) for name, value in _attributes(message).items()}
    return headers | {"content-type": "application/json"}, message.body


def _attributes(message: TargetMessage) -> dict[str, str]:
    attributes = {
        "specversion": "1.0",
        "id": message.id,
        "source": message.source,
        "type": f"{TYPE_PREFIX}{message.type}",
        "time": message.time.isoformat(),
    }
    if message.subject is not None:
        attributes["subject"] = message.subject
    if message.traceparent is not None:
        # The extension "distributed tracing".
        attributes["traceparent"] = message.traceparent
    return attributes
