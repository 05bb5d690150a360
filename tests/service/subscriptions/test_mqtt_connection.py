"""A connection to a real MQTT broker."""

import asyncio
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from service.sources.address_policy import AddressPolicy
from service.subscriptions.mqtt_client import MqttClient
from service.subscriptions.mqtt_connection import connected_broker
from tests.support.mosquitto import mosquitto


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancellation_is_heeded_when_it_comes_with_the_acknowledgement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    """At each turn of the event loop after the acknowledgement."""
    acknowledged = MqttClient._on_publish
    requested: list[bool] = []

    def cancel(turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(cancel, turns - 1)
        else:
            requested.append(publishing.cancel())

    def acknowledge_and_cancel(*arguments: Any) -> None:
        acknowledged(*arguments)
        cancel(turns)

    monkeypatch.setattr(MqttClient, "_on_publish", acknowledge_and_cancel)
    with mosquitto(tmp_path / "broker") as broker:
        policy = AddressPolicy((ip_network("127.0.0.0/8"),))
        async with connected_broker(broker.url, "test", will=None, policy=policy, authorities=None) as connection:
            publishing = asyncio.create_task(connection.publish("topic", "payload"))
            await asyncio.wait([publishing])
            for _ in range(turns):
                await asyncio.sleep(0)
    assert requested == [publishing.cancelled()]
