"""aiomqtt's client, with what a broker says and aiomqtt drops: its limit of packets, and which messages it refuses."""

from typing import Any

import aiomqtt
from paho.mqtt.client import Client, ConnectFlags
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode


class MqttClient(aiomqtt.Client):
    """`max_packet_bytes` is the broker's limit, `refusal` why it refused the last message, if there is one."""

    max_packet_bytes: int | None = None
    refusal: str | None = None

    def _on_connect(
        self,
        client: Client,
        userdata: Any,
        flags: ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        self.max_packet_bytes = getattr(properties, "MaximumPacketSize", None)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_publish(
        self, client: Client, userdata: Any, mid: int, reason_code: ReasonCode, properties: Properties
    ) -> None:
        self.refusal = str(reason_code) if reason_code.is_failure else None
        super()._on_publish(client, userdata, mid, reason_code, properties)
