"""Clears what an MQTT broker has kept of sessions that ended, or were deleted, while nothing could be delivered."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.access.sight import Sight
from service.errors import NotFoundError
from service.schemas import LIVE_STATES
from service.store.protocols import Sessions
from service.store.subscription_records import StoredMqttTarget
from service.subscriptions.home_assistant import HomeAssistant
from service.subscriptions.topics import KEPT_S, OFF, OFFLINE, ON, ONLINE, CameraTopics, camera_of

if TYPE_CHECKING:
    from service.subscriptions.mqtt_connection import MqttConnection

PAGE = 200


@dataclass(frozen=True)
class Leftovers:
    """Of the topics of one subscription. `home` has announced its sessions, if wanted."""

    stored: StoredMqttTarget
    connection: "MqttConnection"
    home: HomeAssistant | None
    sessions: Sessions
    sight: Sight

    async def clear(self) -> None:
        """Raises DeliveryFailedError, ServiceError."""
        any_camera = CameraTopics("+", self.stored.topic)
        kept = await self.connection.read_kept(any_camera.status, any_camera.event(None), any_camera.state("+"))
        levels = {topic: topic.removeprefix(f"{self.stored.topic}/").split("/") for topic in kept}
        # A status alone is that of another subscription, whose topics begin with those of this one.
        cameras = {key for key, *_, last in levels.values() if last != "status"}
        gone = cameras - await self._live_cameras()
        sensors: dict[str, list[str]] = {key: [] for key in gone}
        for topic, payload in kept.items():
            key, *sensor, _ = levels[topic]
            if key in gone:
                sensors[key] += sensor
                if payload in (ON.encode(), ONLINE.encode()):
                    ended = OFF if sensor else OFFLINE
                    await self.connection.publish(topic, ended, is_retained=True, expires_s=KEPT_S)
        if self.home is not None and self.stored.identify == "session":
            for key, labels in sensors.items():
                if not await self._has_failed(key):
                    await self.home.remove(CameraTopics(key, self.stored.topic), labels)

    async def _live_cameras(self) -> set[str]:
        """The topic levels of sessions that have not ended."""
        found: set[str] = set()
        for state in LIVE_STATES:
            before: str | None = None
            while True:
                page, before = await self.sessions.page(limit=PAGE, before=before, state=state, sight=self.sight)
                for session in page:
                    camera = camera_of(
                        self.stored.topic, self.stored.identify, session_id=session.id, name=session.name
                    )
                    found.add(camera.key)
                if before is None:
                    break
        return found

    async def _has_failed(self, session_id: str) -> bool:
        """The devices of sessions that failed stay visible."""
        try:
            return (await self.sessions.get(session_id, sight=self.sight)).state == "failed"
        except NotFoundError:
            return False
