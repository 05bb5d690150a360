"""A connection to an MQTT 5 broker at an address that the policy permits."""

import asyncio
import math
import ssl
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiomqtt
import certifi
import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from service.background import background_task
from service.sources.address_policy import AddressPolicy, IPAddress
from service.sources.resolution import permitted_addresses
from service.sources.sources import SourceForbiddenError
from service.subscriptions.mqtt_client import MqttClient
from service.subscriptions.target import DeliveryFailedError, MessageTooLargeError

PORT, TLS_PORT = 1883, 8883
CONNECT_TIMEOUT_S, TIMEOUT_S, READ_TIMEOUT_S, KEEP_ALIVE_S = 5.0, 10.0, 5.0, 30
AT_LEAST_ONCE = 1
MAX_RECEIVED = 1000
"""Messages that wait to be read; further ones are dropped."""
MAX_HEADER_BYTES = 9
"""A packet's type and length, the length of its topic, and its number."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Will:
    """What the broker publishes, retained, when this connection is lost."""

    topic: str
    payload: str


class MqttConnection:
    """Publishes with acknowledgement, one message at a time and so in order."""

    def __init__(self, client: MqttClient) -> None:
        self._client = client
        self._publishing = asyncio.Lock()

    async def publish(
        self,
        topic: str,
        payload: str | bytes,
        *,
        is_retained: bool = False,
        content_type: str = "",
        message_id: str = "",
        expires_s: int | None = None,
    ) -> None:
        """Return once the broker has accepted the message. Raises DeliveryFailedError, MessageTooLargeError."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if content_type:
            properties.ContentType = content_type
        if expires_s is not None:
            properties.MessageExpiryInterval = expires_s
        if message_id:
            properties.UserProperty = ("id", message_id)
        body = payload.encode() if isinstance(payload, str) else payload
        packed = properties.pack()  # type: ignore[no-untyped-call]
        self._check_size(MAX_HEADER_BYTES + len(topic.encode()) + len(packed) + len(body))
        async with self._publishing:
            self._client.refusal = None
            await _answered(self._client.publish(topic, body, AT_LEAST_ONCE, is_retained, properties, timeout=math.inf))
            if self._client.refusal is not None:
                raise DeliveryFailedError(f"{self._client.refusal}: {topic}")

    def _check_size(self, size_bytes: int) -> None:
        """A broker ends the connection at a packet that is larger than it has said. Raises MessageTooLargeError."""
        limit_bytes = self._client.max_packet_bytes
        if limit_bytes is not None and size_bytes > limit_bytes:
            raise MessageTooLargeError(f"the broker accepts {limit_bytes} bytes, the message has {size_bytes}")

    async def subscribe(self, topic: str) -> None:
        """Receive the messages of a topic, retained ones first. Raises DeliveryFailedError."""
        await _answered(self._client.subscribe(topic, AT_LEAST_ONCE, timeout=math.inf))

    async def unsubscribe(self, topic: str) -> None:
        """Raises DeliveryFailedError."""
        await _answered(self._client.unsubscribe(topic, timeout=math.inf))

    async def read_kept(self, *topics: str) -> dict[str, bytes]:
        """The retained messages that match these filters, the first of which has a `+`. Raises DeliveryFailedError.

        Brokers send what they have kept before what is published later: this connection's own message ends it.
        """
        kept: dict[str, bytes] = {}
        own = topics[0].replace("+", uuid.uuid4().hex)

        async def read() -> None:
            while (received := await self.receive())[0] != own:
                kept.update([received])

        for topic in topics:
            await self.subscribe(topic)
        try:
            async with asyncio.timeout(READ_TIMEOUT_S), background_task(read()) as reading:
                await self.publish(own, b"")
                await reading
        except TimeoutError:
            _log.warning("the broker does not let this user read its topics", topic=topics[0])
        for topic in topics:
            await self.unsubscribe(topic)
        return kept

    async def receive(self) -> tuple[str, bytes]:
        """Topic and payload of the next message. Raises DeliveryFailedError at the end of the connection."""
        try:
            message = await anext(self._client.messages)
        except aiomqtt.MqttError as error:
            raise _failed(error) from error
        return str(message.topic), message.payload if isinstance(message.payload, bytes) else b""


@asynccontextmanager
async def connected_broker(
    url: str, client_id: str, *, will: Will | None, policy: AddressPolicy, authorities: Path | None
) -> AsyncIterator[MqttConnection]:
    """Connect to `mqtt://` or `mqtts://[USER[:PASSWORD]@]HOST[:PORT]`.

    Args:
        authorities: A PEM file of certificates to trust beyond the public authorities.

    Raises:
        DeliveryFailedError: The broker cannot be reached, is not trusted, or refuses the connection.
    """
    parts = urlsplit(url)
    host, is_encrypted = parts.hostname or "", parts.scheme == "mqtts"
    port = parts.port or (TLS_PORT if is_encrypted else PORT)
    context = await asyncio.to_thread(_tls_context, host, authorities) if is_encrypted else None
    try:
        addresses = await permitted_addresses(host, port, policy)
    except SourceForbiddenError as error:
        raise DeliveryFailedError(error.code) from error
    except OSError as error:
        raise _failed(error) from error
    failure: DeliveryFailedError | None = None
    for address in addresses:
        client = MqttClient(
            str(address),
            port,
            username=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
            identifier=client_id,
            protocol=aiomqtt.ProtocolVersion.V5,
            will=None if will is None else aiomqtt.Will(will.topic, will.payload, AT_LEAST_ONCE, retain=True),
            clean_start=True,
            timeout=TIMEOUT_S,
            keepalive=KEEP_ALIVE_S,
            max_queued_incoming_messages=MAX_RECEIVED,
            tls_context=context,
        )
        try:
            await _check_reachable(address, port)
            await _connect(client)
        except (aiomqtt.MqttError, OSError, TimeoutError) as error:
            failure = _failed(error)
            if context is not None:
                context.close_socket()
            continue
        try:
            yield MqttConnection(client)
        finally:
            await _disconnect(client)
        return
    assert failure is not None
    raise failure


async def _answered(request: Awaitable[object]) -> None:
    """Wait for the broker's answer. Raises DeliveryFailedError.

    On Python 3.11, the timeouts of aiomqtt ignore a cancellation that arrives together with the answer.
    """
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await request
    except TimeoutError as error:
        raise DeliveryFailedError("the broker does not answer") from error
    except (aiomqtt.MqttError, ValueError) as error:
        raise _failed(error) from error


async def _check_reachable(address: IPAddress, port: int) -> None:
    """The client library connects in one of few threads, which must not wait for hosts that do not answer.

    Raises OSError, TimeoutError.
    """
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        _, writer = await asyncio.open_connection(str(address), port)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def _connect(client: aiomqtt.Client) -> None:
    """Raises aiomqtt.MqttError, OSError."""
    connecting = asyncio.ensure_future(client.__aenter__())
    try:
        await asyncio.shield(connecting)
    except asyncio.CancelledError:
        # A half-open connection could not be closed.
        with suppress(aiomqtt.MqttError, OSError):
            await connecting
            await _disconnect(client)
        raise


async def _disconnect(client: aiomqtt.Client) -> None:
    """Without the will, if the connection still exists."""
    try:
        await client.__aexit__(None, None, None)
    except aiomqtt.MqttError:
        # It was lost, which is reported where it is used.
        return


class _NamedContext(ssl.SSLContext):
    """Checks the certificate for a name although an address, the judged one, is connected to."""

    server_name = ""
    _socket: ssl.SSLSocket | None = None

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        self._socket = super().wrap_socket(*arguments, **{**options, "server_hostname": self.server_name})
        return self._socket

    def close_socket(self) -> None:
        """Close the socket of a failed handshake, which paho leaves open."""
        if self._socket is not None:
            self._socket.close()


def _tls_context(host: str, authorities: Path | None) -> _NamedContext:
    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.server_name = host
    context.load_verify_locations(cafile=certifi.where())
    if authorities is not None:
        context.load_verify_locations(cafile=authorities)
    return context


def _failed(error: Exception) -> DeliveryFailedError:
    return DeliveryFailedError(": ".join(filter(None, (type(error).__name__, str(error)))))
