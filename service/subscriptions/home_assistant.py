"""Keeps the devices in Home Assistant in step with the sessions."""

import asyncio
import uuid
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from service.access.sight import Sight
from service.errors import NotFoundError, ServiceError
from service.event_filter import EventFilter
from service.event_schemas import Event
from service.schemas import ENDED_STATES, LIVE_STATES
from service.storage.blobs import Blobs
from service.store.protocols import Sessions
from service.store.records import SessionRecord
from service.store.subscription_records import StoredMqttTarget
from service.subscriptions.discovery import LabelSensor, device_config, discovery_topic, sensors_of
from service.subscriptions.selection import OpenActions
from service.subscriptions.target import MessageTooLargeError
from service.subscriptions.topics import OFF, OFFLINE, ON, ONLINE, CameraTopics, camera_of

if TYPE_CHECKING:
    from service.subscriptions.mqtt_connection import MqttConnection

PAGE = 200
LISTEN_TIMEOUT_S = 5.0
MAX_PAUSED = 10_000

_log = structlog.get_logger(__name__)


class HomeAssistant:
    """The devices that one connection has announced. Each connection announces them anew: the broker may be new."""

    def __init__(
        self,
        stored: StoredMqttTarget,
        prefix: str,
        connection: "MqttConnection",
        *,
        sessions: Sessions,
        blobs: Blobs,
        wanted: EventFilter,
        sight: Sight,
        open_actions: OpenActions,
    ) -> None:
        self._stored = stored
        self._prefix = prefix
        self._connection = connection
        self._sessions = sessions
        self._blobs = blobs
        self._wanted = wanted
        self._sight = sight
        self._open_actions = open_actions
        self._announced: dict[str, list[LabelSensor]] = {}
        self._paused: set[str] = set()
        """Cameras of which starts are left out, by their level of topics."""

    async def listen(self) -> None:
        """Take the commands that the broker has kept, and receive further ones. Raises DeliveryFailedError.

        Brokers send what they have kept before what is published later: this connection's own message ends it.
        """
        await self._connection.subscribe(CameraTopics("+", self._stored.topic).reporting_command)
        last = CameraTopics(uuid.uuid4().hex, self._stored.topic).reporting_command
        await self._connection.publish(last, b"")
        try:
            async with asyncio.timeout(LISTEN_TIMEOUT_S):
                while (received := await self._connection.receive())[0] != last:
                    self._note(*received)
        except TimeoutError:
            _log.warning("the broker does not let this user read commands", topic=last)

    async def command(self, topic: str, payload: bytes) -> None:
        """Pause or resume the reports of a camera, and confirm it. Raises DeliveryFailedError."""
        camera = self._note(topic, payload)
        if camera is not None and payload:
            await self._publish(camera.reporting, payload)

    def _note(self, topic: str, payload: bytes) -> CameraTopics | None:
        """The camera of a command; None for any other message."""
        camera = CameraTopics(topic.removeprefix(f"{self._stored.topic}/").partition("/")[0], self._stored.topic)
        if topic != camera.reporting_command or payload not in (ON.encode(), OFF.encode(), b""):
            return None
        if payload != OFF.encode():
            self._paused.discard(camera.key)
        elif len(self._paused) < MAX_PAUSED:
            self._paused.add(camera.key)
        return camera

    def leaves_out(self, event: Event) -> bool:
        """Whether it is a start of a camera whose reports are paused. Ends are not: they switch sensors off."""
        return event.type == "action.start" and self._camera(event.session_id, event.name).key in self._paused

    async def announce_live(self) -> None:
        """Announce the sessions that have not ended. Raises DeliveryFailedError, ServiceError."""
        for state in LIVE_STATES:
            before: str | None = None
            while True:
                page, before = await self._sessions.page(limit=PAGE, before=before, state=state, sight=self._sight)
                for session in page:
                    if session.id not in self._announced and self._may_want(session):
                        await self._announce(session)
                if before is None:
                    break

    async def before(self, event: Event) -> None:
        """Announce the session of an event, if that is not done. Raises DeliveryFailedError, ServiceError."""
        if event.session_id in self._announced and event.type != "session.changed":
            return
        try:
            session = await self._sessions.get(event.session_id, sight=self._sight)
        except NotFoundError:
            return
        if session.state not in ENDED_STATES or self._stored.identify == "name":
            await self._announce(session)

    async def after(self, event: Event) -> None:
        """Show a start, and remove a device that was stopped for good. Raises DeliveryFailedError, ServiceError."""
        if event.type == "action.start":
            await self._show(event)
        if event.type != "session.state" or event.state not in ENDED_STATES:
            return
        sensors = self._announced.pop(event.session_id, None)
        if sensors is not None and self._stored.identify == "session" and event.state != "failed":
            await self.remove(self._camera(event.session_id, event.name), [sensor.level for sensor in sensors])

    async def _announce(self, session: SessionRecord) -> None:
        camera = self._camera(session.id, session.name)
        sensors = sensors_of(session, self._wanted)
        removed = [sensor for sensor in self._announced.get(session.id, ()) if sensor not in sensors]
        topic = discovery_topic(self._prefix, camera)
        if removed:
            # One message names them, and the next one, which is retained, omits them.
            await self._publish(topic, device_config(session, camera, sensors, removed=removed))
        await self._publish(topic, device_config(session, camera, sensors))
        await self._publish(camera.status, ONLINE if session.state == "running" else OFFLINE)
        await self._publish(camera.reporting, OFF if camera.key in self._paused else ON)
        open_actions = self._open_actions(session.id)
        for sensor in sensors:
            state = ON if (sensor.region, sensor.label) in open_actions else OFF
            await self._publish(camera.state(sensor.level), state)
        self._announced[session.id] = sensors

    def _may_want(self, session: SessionRecord) -> bool:
        return self._wanted.passes_session(session.id, session.name, session.metadata)

    async def _show(self, event: Event) -> None:
        try:
            jpeg = await self._blobs.snapshot(event.session_id)
        except ServiceError:
            # The event matters more than its image.
            return
        if jpeg is not None:
            with suppress(MessageTooLargeError):
                await self._publish(self._camera(event.session_id, event.name).image, jpeg)

    async def remove(self, camera: CameraTopics, levels: Collection[str]) -> None:
        """Remove a device, its sensors being those of these levels of topics. Raises DeliveryFailedError."""
        # An empty message removes a retained one.
        topics = [discovery_topic(self._prefix, camera), camera.status, camera.event(None), camera.image]
        topics += [camera.reporting, camera.reporting_command]
        for level in levels:
            topics += [camera.state(level), camera.event(level)]
        for topic in topics:
            await self._publish(topic, b"")

    async def _publish(self, topic: str, payload: str | bytes) -> None:
        await self._connection.publish(topic, payload, is_retained=True)

    def _camera(self, session_id: str, name: str | None) -> CameraTopics:
        return camera_of(self._stored.topic, self._stored.identify, session_id=session_id, name=name)
