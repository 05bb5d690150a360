"""Opens the targets of subscriptions."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpcore

from service.sources.address_policy import AddressPolicy
from service.storage.blobs import Blobs
from service.store.protocols import Sessions
from service.store.subscription_records import (
    StoredAppriseTarget,
    StoredMqttTarget,
    StoredRedisTarget,
    StoredWebhookTarget,
    SubscriptionRecord,
)
from service.subscriptions.apprise_target import AppriseTarget, StillsAndClips
from service.subscriptions.home_assistant import HomeAssistant
from service.subscriptions.leftovers import Leftovers
from service.subscriptions.mqtt import MqttTarget
from service.subscriptions.notifier import Notifier
from service.subscriptions.selection import OpenActions
from service.subscriptions.target import Target, Trial
from service.subscriptions.topics import OFFLINE, server_status
from service.subscriptions.webhook import WebhookTarget

if TYPE_CHECKING:
    from service.subscriptions.mqtt_connection import MqttConnection
    from service.subscriptions.redis_stream import RedisStreamTarget


@dataclass(frozen=True)
class TargetOpener:
    """What the targets of one server share. `authorities` are trusted beyond the public ones."""

    pool: httpcore.AsyncConnectionPool
    policy: AddressPolicy
    authorities: Path | None
    sessions: Sessions
    blobs: Blobs
    notifier: Notifier
    stills_and_clips: StillsAndClips

    @asynccontextmanager
    async def open(self, record: SubscriptionRecord, open_actions: OpenActions) -> AsyncIterator[Target]:
        """Open a target for the subscription's lane, connected if it needs a connection. Raises DeliveryFailedError."""
        target = record.target
        if isinstance(target, StoredWebhookTarget):
            yield WebhookTarget(target, self.pool)
            return
        if isinstance(target, StoredAppriseTarget):
            yield AppriseTarget(target, self.notifier, self.stills_and_clips)
            return
        if isinstance(target, StoredRedisTarget):
            async with self._stream(target) as stream:
                yield stream
            return
        async with self._connected(target, f"cake-{record.id}", has_will=True) as connection:
            home = self._home_assistant(record, target, connection, open_actions)
            await Leftovers(target, connection, home, self.sessions, record.sight).clear()
            opened = MqttTarget(target, connection, home, open_actions)
            async with opened.online():
                yield opened

    async def test(self, record: SubscriptionRecord, trial: Trial) -> None:
        """Send a test message over a separate connection. Raises DeliveryFailedError."""
        target = record.target
        if isinstance(target, StoredWebhookTarget):
            await WebhookTarget(target, self.pool).test(trial)
            return
        if isinstance(target, StoredAppriseTarget):
            await AppriseTarget(target, self.notifier, self.stills_and_clips).test(trial)
            return
        if isinstance(target, StoredRedisTarget):
            async with self._stream(target) as stream:
                await stream.test(trial)
            return
        async with self._connected(target, f"cake-{record.id}-test", has_will=False) as connection:
            await MqttTarget(target, connection).test(trial)

    def _home_assistant(
        self,
        record: SubscriptionRecord,
        target: StoredMqttTarget,
        connection: "MqttConnection",
        open_actions: OpenActions,
    ) -> HomeAssistant | None:
        if target.discovery_prefix is None:
            return None
        return HomeAssistant(
            target,
            target.discovery_prefix,
            connection,
            sessions=self.sessions,
            blobs=self.blobs,
            wanted=record.filter.event_filter(),
            sight=record.sight,
            open_actions=open_actions,
        )

    def _stream(self, target: StoredRedisTarget) -> "AbstractAsyncContextManager[RedisStreamTarget]":
        # Most servers use no Redis, whose client takes long to import.
        from service.subscriptions.redis_stream import opened

        return opened(target, self.policy, self.authorities)

    def _connected(
        self, target: StoredMqttTarget, client_id: str, *, has_will: bool
    ) -> "AbstractAsyncContextManager[MqttConnection]":
        # As with Redis, most servers use no MQTT.
        from service.subscriptions.mqtt_connection import Will, connected_broker

        will = Will(server_status(target.topic), OFFLINE) if has_will else None
        url = target.url.get_secret_value()
        return connected_broker(url, client_id, will=will, policy=self.policy, authorities=self.authorities)
