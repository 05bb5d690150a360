"""Messages of Home Assistant's MQTT discovery (https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery).

Each session is a device: a binary sensor for each label that may be delivered, and an image. This is the schema with
one message for a whole device, which Home Assistant has since 2024.12.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from service.event_filter import EventFilter
from service.store.records import SessionRecord
from service.subscriptions.topics import CameraTopics, sensor_of, server_status

VERSION = version("cake-served")
SUPPORT_URL = "https://arxiv.org/abs/2603.23988"
IMAGE, SWITCH = "image", "reporting"
"""Components that each device has."""


@dataclass(frozen=True)
class LabelSensor:
    """One label of a session, or of one of its regions."""

    label: str
    region: str | None

    @property
    def level(self) -> str:
        """Its level of topics."""
        return sensor_of(self.label, self.region)

    @property
    def name(self) -> str:
        """What people read."""
        return self.label if self.region is None else f"{self.region}: {self.label}"


def sensors_of(session: SessionRecord, wanted: EventFilter) -> list[LabelSensor]:
    """The labels and regions of which events pass the filter."""
    regions: Collection[str | None] = [region.name for region in session.regions] or [None]
    return [
        LabelSensor(label, region)
        for region in regions
        if not wanted.regions or region in wanted.regions
        for label in session.labels
        if not wanted.labels or label in wanted.labels
    ]


def discovery_topic(prefix: str, camera: CameraTopics) -> str:
    """Where the configuration of a device is published, retained; an empty one removes the device."""
    return f"{prefix}/device/{device_id(camera)}/config"


def device_id(camera: CameraTopics) -> str:
    """Keeps devices of several subscriptions apart."""
    return f"cake_{camera.base.replace('/', '_')}_{camera.key}"


def device_config(
    session: SessionRecord,
    camera: CameraTopics,
    sensors: Collection[LabelSensor],
    *,
    removed: Collection[LabelSensor] = (),
) -> str:
    """The configuration of a session's device. `removed` are sensors of its last configuration that it lacks now."""
    components = {_component(sensor): _binary_sensor(camera, sensor) for sensor in sensors}
    # A component with nothing but its platform is removed.
    gone = {_component(sensor): {"platform": "binary_sensor"} for sensor in removed}
    return json.dumps(
        {
            "device": {
                "identifiers": [device_id(camera)],
                "name": session.name or f"Camera {session.id[:8]}",
                "manufacturer": "CAKE",
                "model": session.model,
                "sw_version": VERSION,
            },
            "origin": {"name": "CAKE", "sw_version": VERSION, "support_url": SUPPORT_URL},
            "availability": [{"topic": server_status(camera.base)}, {"topic": camera.status}],
            "availability_mode": "all",
            "qos": 1,
            "components": {**components, **gone, IMAGE: _image(camera), SWITCH: _switch(camera)},
        }
    )


def _component(sensor: LabelSensor) -> str:
    """Its key among the components of a device."""
    return f"action-{sensor.level}" if sensor.level in (IMAGE, SWITCH) else sensor.level


def _binary_sensor(camera: CameraTopics, sensor: LabelSensor) -> Mapping[str, Any]:
    return {
        "platform": "binary_sensor",
        "unique_id": f"{device_id(camera)}_{_component(sensor)}",
        "name": sensor.name,
        "device_class": "motion",
        "state_topic": camera.state(sensor.level),
        "json_attributes_topic": camera.event(sensor.level),
    }


def _switch(camera: CameraTopics) -> Mapping[str, Any]:
    return {
        "platform": "switch",
        "unique_id": f"{device_id(camera)}_{SWITCH}",
        "name": "Report actions",
        "state_topic": camera.reporting,
        "command_topic": camera.reporting_command,
        "retain": True,
    }


def _image(camera: CameraTopics) -> Mapping[str, Any]:
    return {
        "platform": "image",
        "unique_id": f"{device_id(camera)}_{IMAGE}",
        "name": "Last action",
        "image_topic": camera.image,
        "content_type": "image/jpeg",
    }
