"""MQTT 5 as a target: the last event and the state of each session and label, retained."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from service.event_schemas import Event, SessionStateEvent
from service.schemas import ENDED_STATES
from service.store.subscription_records import StoredMqttTarget
from service.subscriptions.home_assistant import HomeAssistant
from service.subscriptions.selection import OpenActions
from service.subscriptions.target import DeliveryFailedError, Trial, event_message, trial_message
from service.subscriptions.topics import (
    KEPT_S,
    OFF,
    OFFLINE,
    ON,
    ONLINE,
    CameraTopics,
    camera_of,
    sensor_of,
    sensor_of_event,
    server_status,
)

if TYPE_CHECKING:
    from service.subscriptions.mqtt_connection import MqttConnection

JSON = "application/json"


class MqttTarget:
    """Implements `service.subscriptions.target.Target`. `home` announces the sessions to Home Assistant, if wanted."""

    def __init__(
        self,
        stored: StoredMqttTarget,
        connection: "MqttConnection",
        home: HomeAssistant | None = None,
        open_actions: OpenActions = lambda _: [],
    ) -> None:
        self._stored = stored
        self._connection = connection
        self._home = home
        self._open_actions = open_actions

    @asynccontextmanager
    async def online(self) -> AsyncIterator[None]:
        """Say that events are delivered, and at the end that they are not. Raises DeliveryFailedError, ServiceError."""
        status = server_status(self._stored.topic)
        if self._home is not None:
            await self._home.listen()
            await self._home.announce_live()
        await self._connection.publish(status, ONLINE, is_retained=True)
        try:
            yield
        finally:
            # Where the connection was lost, the broker publishes the will.
            with suppress(DeliveryFailedError):
                await self._connection.publish(status, OFFLINE, is_retained=True)

    async def deliver(self, event: Event) -> None:
        if self._home is not None:
            await self._home.before(event)
            if self._home.leaves_out(event):
                return
        await self._publish(event)
        if self._home is not None:
            await self._home.after(event)

    async def _publish(self, event: Event) -> None:
        message = event_message(event)
        camera = camera_of(self._stored.topic, self._stored.identify, session_id=event.session_id, name=event.name)
        sensor = sensor_of_event(event)
        await self._connection.publish(
            camera.event(sensor),
            message.body,
            is_retained=True,
            content_type=JSON,
            message_id=message.id,
            expires_s=KEPT_S,
        )
        if sensor is not None:
            state = ON if event.type == "action.start" else OFF
            await self._connection.publish(camera.state(sensor), state, is_retained=True, expires_s=KEPT_S)
        elif event.type == "session.state":
            await self._publish_status(camera, event)

    async def _publish_status(self, camera: CameraTopics, event: SessionStateEvent) -> None:
        if event.state not in ENDED_STATES:
            status = ONLINE if event.state == "running" else OFFLINE
            await self._connection.publish(camera.status, status, is_retained=True)
            return
        # A session that is stopped while no worker has it does not end its actions.
        off = [camera.state(sensor_of(label, region)) for region, label in self._open_actions(event.session_id)]
        for topic, payload in [*((topic, OFF) for topic in off), (camera.status, OFFLINE)]:
            await self._connection.publish(topic, payload, is_retained=True, expires_s=KEPT_S)

    async def test(self, trial: Trial) -> None:
        """Publish a test message. Raises DeliveryFailedError."""
        message = trial_message(trial)
        topic = f"{self._stored.topic}/test"
        await self._connection.publish(topic, message.body, content_type=JSON, message_id=message.id)

    async def lost(self) -> None:
        while True:
            topic, payload = await self._connection.receive()
            if self._home is not None:
                await self._home.command(topic, payload)
