"""A real MQTT broker on a free port of 127.0.0.1, and a subscriber."""

import asyncio
import itertools
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.support.commands import require_command
from tests.support.running_server import free_port, until

numbers = itertools.count()


class Mosquitto:
    """It keeps retained messages and sessions in `folder`, also when it is killed."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        lines = (
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {folder}/",
            "autosave_on_changes true",
            "autosave_interval 1",
            # Otherwise it gives up the rights of root, and with them its folder.
            *(("user root",) if os.getuid() == 0 else ()),
            *(options or ("allow_anonymous true",)),
        )
        (folder / "mosquitto.conf").write_text("\n".join(lines))

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        with (self._folder / "mosquitto.log").open("ab") as log:
            arguments = [require_command("mosquitto"), "-c", str(self._folder / "mosquitto.conf")]
            self._process = subprocess.Popen(arguments, stdout=log, stderr=log)
        for _ in range(3000):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                assert self._process.poll() is None, (self._folder / "mosquitto.log").read_text()
                time.sleep(0.02)
        raise TimeoutError((self._folder / "mosquitto.log").read_text())

    def stop(self) -> None:
        """End it in order. Killed, it forgets what it acknowledged in the last second and had not yet passed on."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait()
        self._process = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def mosquitto(folder: Path, *options: str) -> Iterator[Mosquitto]:
    """Running; `options` are lines of its configuration, which then says who may connect."""
    folder.mkdir(exist_ok=True)
    broker = Mosquitto(folder, *options)
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()


@dataclass
class Subscriber:
    """The received messages, by topic and in order."""

    messages: list[tuple[str, str]] = field(default_factory=list)

    def of(self, topic: str) -> list[str]:
        """The payloads received under a topic, oldest first."""
        return [payload for found, payload in self.messages if found == topic]

    async def until(self, topic: str, payload: str) -> None:
        """Wait until the newest message of the topic is this one."""
        async with asyncio.timeout(60):
            await until(lambda: self.of(topic)[-1:] == [payload])


@asynccontextmanager
async def subscriber(broker: Mosquitto, topic: str = "#") -> AsyncIterator[Subscriber]:
    """It connects again when the broker is back, to the same session, so that nothing is lost."""
    found, is_subscribed, identifier = Subscriber(), asyncio.Event(), f"subscriber-{next(numbers)}"

    class Noting(asyncio.Queue[aiomqtt.Message]):
        """Notes messages as they arrive, when the client acknowledges them: it drops its queue when it is cut off."""

        def put_nowait(self, item: aiomqtt.Message) -> None:
            assert isinstance(item.payload, bytes)
            found.messages.append((str(item.topic), item.payload.decode(errors="replace")))
            super().put_nowait(item)

    async def receive() -> None:
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = 3600
        while True:
            try:
                async with aiomqtt.Client(
                    "127.0.0.1",
                    broker.port,
                    identifier=identifier,
                    protocol=aiomqtt.ProtocolVersion.V5,
                    # Mosquitto 2.0 does not store a session that began with a clean start.
                    clean_start=False,
                    properties=session,
                    queue_type=Noting,
                ) as client:
                    await client.subscribe(topic, qos=1)
                    is_subscribed.set()
                    async for _ in client.messages:
                        pass
            except aiomqtt.MqttError:
                await asyncio.sleep(0.02)

    task = asyncio.create_task(receive())
    try:
        await is_subscribed.wait()
        yield found
    finally:
        task.cancel()
        await asyncio.wait([task])
