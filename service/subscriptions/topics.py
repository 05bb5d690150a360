"""The MQTT topics of sessions and labels."""

import hashlib
import re
from dataclasses import dataclass

from service.event_schemas import Event
from service.schemas import CameraIdentity

ONLINE, OFFLINE = "online", "offline"
ON, OFF = "ON", "OFF"
KEPT_S = 30 * 24 * 3600
"""Brokers drop events and states after this, and what says that a session has ended: otherwise those of sessions that
ended long ago would fill them.
"""


@dataclass(frozen=True)
class CameraTopics:
    """A session as MQTT subscribers know it. `key` is a level of topics: letters, digits, `_` and `-`."""

    key: str
    base: str

    @property
    def status(self) -> str:
        """`online` while the session runs, else `offline`."""
        return f"{self.base}/{self.key}/status"

    @property
    def image(self) -> str:
        """A JPEG of about the start of the last action."""
        return f"{self.base}/{self.key}/image"

    @property
    def reporting(self) -> str:
        """`ON`, or `OFF` while starts are left out."""
        return f"{self.base}/{self.key}/reporting"

    @property
    def reporting_command(self) -> str:
        """`ON` or `OFF`, retained, from the client that switches it."""
        return f"{self.reporting}/set"

    def event(self, sensor: str | None) -> str:
        """The last event of a sensor, or without one of the session, as JSON."""
        return "/".join(filter(None, (self.base, self.key, sensor, "event")))

    def state(self, sensor: str) -> str:
        """`ON` while an action is in progress, else `OFF`."""
        return f"{self.base}/{self.key}/{sensor}/state"


def camera_of(base: str, identity: CameraIdentity, *, session_id: str, name: str | None) -> CameraTopics:
    """The camera of a session: by its id, or by its name if it has one."""
    return CameraTopics(level(name if identity == "name" and name else session_id), base)


def sensor_of(label: str, region: str | None) -> str:
    """A level of topics for a label, and for the region in which it is looked for."""
    return level(label) if region is None else f"{level(region)}--{level(label)}"


def sensor_of_event(event: Event) -> str | None:
    """None for events without a label."""
    return sensor_of(event.label, event.region) if event.type in ("action.start", "action.end") else None


def server_status(base: str) -> str:
    """`online` while the subscription is connected, else `offline`."""
    return f"{base}/status"


def level(text: str) -> str:
    """`text` as one level of a topic. Other characters are replaced, and a part of a hash keeps texts apart."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", text)
    if plain == text:
        return plain
    return f"{plain}_{hashlib.sha256(text.encode()).hexdigest()[:6]}"
