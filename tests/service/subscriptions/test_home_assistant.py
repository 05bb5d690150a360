"""Home Assistant finds each session as a device, by the discovery messages that its documentation specifies."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import aiomqtt

from model.checkpoints.stored import read_config
from service.event_filter import EVERYTHING
from service.subscriptions.discovery import VERSION, LabelSensor, device_config, discovery_topic, sensors_of
from service.subscriptions.topics import camera_of
from tests.support.mosquitto import Subscriber, mosquitto, subscriber
from tests.support.paths import ROOT
from tests.support.running_server import running_server, until
from tests.support.store_kit import record
from tests.support.subscription_kit import subscribe, subscription


async def until_found(found: Subscriber, topic: str) -> dict[str, Any]:
    """The newest message of a topic."""
    async with asyncio.timeout(60):
        await until(lambda: bool(found.of(topic)))
    message: dict[str, Any] = json.loads(found.of(topic)[-1])
    return message


async def test_a_session_is_a_device_with_a_sensor_for_each_label(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        async with running_server(tmp_path / "data") as server, subscriber(broker) as found:
            target = {"kind": "mqtt", "url": broker.url, "home_assistant": {}}
            created = await subscribe(server, target, filter={"label": ["kick", "jump"]})
            assert created.target.kind == "mqtt"
            assert created.target.home_assistant is not None
            session = await server.submit(name="gate")
            await server.worker.claim()
            await server.worker.enter(session.id, "running")
            device = f"cake_cake_{session.id}"
            config = await until_found(found, f"homeassistant/device/{device}/config")
            assert config.keys() == {"device", "origin", "availability", "availability_mode", "qos", "components"}
            assert config["device"]["identifiers"] == [device]
            assert (config["device"]["name"], config["device"]["model"]) == ("gate", "mocap")
            assert config["origin"]["name"] == "CAKE"
            base = f"cake/{session.id}"
            assert config["availability"] == [{"topic": "cake/status"}, {"topic": f"{base}/status"}]
            assert (config["availability_mode"], config["qos"]) == ("all", 1)
            assert config["components"] == {
                label: {
                    "platform": "binary_sensor",
                    "unique_id": f"{device}_{label}",
                    "name": label,
                    "device_class": "motion",
                    "state_topic": f"{base}/{label}/state",
                    "json_attributes_topic": f"{base}/{label}/event",
                }
                for label in ("kick", "jump")
            } | {
                "image": {
                    "platform": "image",
                    "unique_id": f"{device}_image",
                    "name": "Last action",
                    "image_topic": f"{base}/image",
                    "content_type": "image/jpeg",
                },
                "reporting": {
                    "platform": "switch",
                    "unique_id": f"{device}_reporting",
                    "name": "Report actions",
                    "state_topic": f"{base}/reporting",
                    "command_topic": f"{base}/reporting/set",
                    "retain": True,
                },
            }
            await found.until(f"{base}/kick/state", "OFF")
            await found.until(f"{base}/status", "online")
            await server.worker.starts(session.id, [1.0])
            await found.until(f"{base}/kick/state", "ON")
            await server.worker.ends(session.id, start_s=1.0, end_s=2.0)
            await found.until(f"{base}/kick/state", "OFF")
            assert (await until_found(found, f"{base}/kick/event"))["type"] == "action.end"


async def test_sessions_that_run_already_are_announced_and_with_their_regions(tmp_path: Path) -> None:
    region = {"name": "back door", "x": 0.0, "y": 0.0, "width": 0.5, "height": 0.5}
    with mosquitto(tmp_path / "broker") as broker:
        async with running_server(tmp_path / "data") as server, subscriber(broker) as found:
            session = await server.submit(regions=[region], labels=["kick"], metadata={"site": "north"})
            other = await server.submit(metadata={"site": "south"})
            target = {"kind": "mqtt", "url": broker.url, "home_assistant": {"discovery_prefix": "ha"}}
            await subscribe(server, target, filter={"metadata": {"site": ["north"]}})
            config = await until_found(found, f"ha/device/cake_cake_{session.id}/config")
            assert config["device"]["name"] == f"Camera {session.id[:8]}"
            [sensor, image, _] = config["components"].values()
            assert (sensor["name"], image["platform"]) == ("back door: kick", "image")
            await found.until("cake/status", "online")
            assert not found.of(f"ha/device/cake_cake_{other.id}/config")


async def test_a_session_that_was_stopped_is_removed(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        async with running_server(tmp_path / "data") as server, subscriber(broker) as found:
            await subscribe(server, {"kind": "mqtt", "url": broker.url, "home_assistant": {}})
            session = await server.running_session()
            topic = f"homeassistant/device/cake_cake_{session.id}/config"
            await until_found(found, topic)
            await server.worker.enter(session.id, "stopped")
            await found.until(topic, "")
            await found.until(f"cake/{session.id}/walk/event", "")
            async with subscriber(broker) as late:
                await late.until("cake/status", "online")
                assert [topic for topic, _ in late.messages if session.id in topic] == []


async def test_a_session_that_ends_while_its_events_wait_is_removed_and_one_that_fails_is_not(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        async with running_server(tmp_path / "data") as server, subscriber(broker) as found:
            created = await subscribe(server, {"kind": "mqtt", "url": broker.url, "home_assistant": {}})
            session, failed = await server.running_session(), await server.running_session()
            topics = [f"homeassistant/device/cake_cake_{each.id}/config" for each in (session, failed)]
            for topic in topics:
                await until_found(found, topic)
            await found.until("cake/status", "online")
            await server.http.post(f"/v1/subscriptions/{created.id}/pause")
            await found.until("cake/status", "offline")
            await server.worker.enter(session.id, "completed")
            await server.worker.enter(failed.id, "failed", code="source_unreachable")
            await server.http.post(f"/v1/subscriptions/{created.id}/resume", json={})
            await found.until("cake/status", "online")
            await found.until(f"cake/{failed.id}/status", "offline")
            assert found.of(topics[0])[-1] == ""
            assert found.of(topics[1])[-1] != ""


async def test_a_new_broker_gets_the_devices_and_their_states_again(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        async with running_server(tmp_path / "data") as server:
            await subscribe(server, {"kind": "mqtt", "url": broker.url, "home_assistant": {}})
            session = await server.running_session()
            await server.worker.starts(session.id, [1.0])
            async with subscriber(broker) as found:
                await found.until(f"cake/{session.id}/kick/state", "ON")
            broker.kill()
            (tmp_path / "broker" / "mosquitto.db").unlink(missing_ok=True)
            broker.start()
            async with subscriber(broker) as found:
                await until_found(found, f"homeassistant/device/cake_cake_{session.id}/config")
                await found.until("cake/status", "online")
                await found.until(f"cake/{session.id}/kick/state", "ON")
                await found.until(f"cake/{session.id}/jump/state", "OFF")


async def test_a_switch_pauses_the_reports_of_one_camera_and_keeps_its_position(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        async with running_server(tmp_path / "data") as server, subscriber(broker) as found:
            created = await subscribe(server, {"kind": "mqtt", "url": broker.url, "home_assistant": {}})
            session, other = await server.running_session(), await server.running_session()
            switch, sensor = f"cake/{session.id}/reporting", f"cake/{session.id}/kick"
            await found.until(switch, "ON")
            await found.until(f"cake/{other.id}/reporting", "ON")

            async def turn(position: str) -> None:
                async with aiomqtt.Client("127.0.0.1", broker.port) as home:
                    await home.publish(f"{switch}/set", position, qos=1, retain=True)
                await found.until(switch, position)

            await server.worker.starts(session.id, [1.0])
            await found.until(f"{sensor}/state", "ON")
            await turn("OFF")
            await server.worker.ends(session.id, start_s=1.0, end_s=2.0)
            await server.worker.starts(session.id, [3.0])
            await server.worker.starts(other.id, [3.0])
            await found.until(f"cake/{other.id}/kick/state", "ON")
            await found.until(f"{sensor}/state", "OFF")
            # A new connection learns from the broker that the switch is off, before it delivers anything.
            await server.http.post(f"/v1/subscriptions/{created.id}/pause")
            await found.until("cake/status", "offline")
            await server.worker.starts(session.id, [4.0])
            await server.http.post(f"/v1/subscriptions/{created.id}/resume", json={})
            await found.until("cake/status", "online")
            await server.worker.starts(other.id, [5.0])
            async with asyncio.timeout(60):
                await until(lambda: json.loads(found.of(f"cake/{other.id}/kick/event")[-1])["start_s"] == 5.0)
            assert set(found.of(switch)[1:]) == {"OFF"}
            await turn("ON")
            await server.worker.starts(session.id, [6.0])
            await found.until(f"{sensor}/state", "ON")
            reported = [json.loads(payload) for payload in found.of(f"{sensor}/event")]
            assert [event["start_s"] for event in reported if event["type"] == "action.start"] == [1.0, 6.0]


async def test_a_start_comes_with_an_image(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        async with running_server(tmp_path / "data") as server, subscriber(broker) as found:
            await subscribe(server, {"kind": "mqtt", "url": broker.url, "home_assistant": {}})
            session = await server.running_session()
            snapshots = server.settings.data_dir / "snapshots"
            snapshots.mkdir(exist_ok=True)
            (snapshots / f"{session.id}.jpg").write_bytes(b"\xff\xd8image")
            await server.worker.starts(session.id, [1.0])
            async with asyncio.timeout(60):
                await until(lambda: any(topic.endswith("/image") for topic, _ in found.messages))


def test_the_example_of_the_documentation_is_what_is_published() -> None:
    [example] = re.findall(r"^```json\n(.*?)^```", (ROOT / "docs" / "home-assistant.md").read_text(), re.M | re.S)
    people = read_config(ROOT / "model" / "weights" / "people")
    session = record().model_copy(update={"name": "gate", "model": people.name, "labels": people.labels[1:]})
    camera = camera_of("cake", "name", session_id=session.id, name=session.name)
    assert discovery_topic("homeassistant", camera) == "homeassistant/device/cake_cake_gate/config"
    published = device_config(session, camera, sensors_of(session, EVERYTHING))
    assert json.loads(published.replace(VERSION, "0.2.0")) == json.loads(example)


def test_labels_named_like_the_image_and_the_switch_have_sensors_of_their_own() -> None:
    session = record().model_copy(update={"labels": ("image", "reporting")})
    camera = camera_of("cake", "session", session_id=session.id, name=None)
    components = json.loads(device_config(session, camera, sensors_of(session, EVERYTHING)))["components"].values()
    platforms = sorted(component["platform"] for component in components)
    assert platforms == ["binary_sensor", "binary_sensor", "image", "switch"]
    assert len({component["unique_id"] for component in components}) == 4


def test_a_label_that_is_no_longer_reported_is_announced_with_its_platform_only() -> None:
    session = record().model_copy(update={"labels": ("kick",)})
    camera = camera_of("cake", "session", session_id=session.id, name=None)
    config = device_config(session, camera, sensors_of(session, EVERYTHING), removed=[LabelSensor("jump", None)])
    assert json.loads(config)["components"]["jump"] == {"platform": "binary_sensor"}


async def test_an_image_that_is_too_large_for_the_broker_is_left_out(tmp_path: Path) -> None:
    options = ("allow_anonymous true", "max_packet_size 10000")
    with mosquitto(tmp_path / "broker", *options) as broker:
        async with running_server(tmp_path / "data") as server, subscriber(broker) as found:
            created = await subscribe(server, {"kind": "mqtt", "url": broker.url, "home_assistant": {}})
            session = await server.running_session()
            snapshots = server.settings.data_dir / "snapshots"
            snapshots.mkdir(exist_ok=True)
            (snapshots / f"{session.id}.jpg").write_bytes(b"\xff\xd8" + b"i" * 10_000)
            await server.worker.starts(session.id, [1.0, 2.0])
            await server.worker.ends(session.id, start_s=2.0, end_s=3.0)
            async with asyncio.timeout(60):
                await until(lambda: any('"action.end"' in payload for _, payload in found.messages))
            assert (await subscription(server, created.id)).last_error is None
            assert not found.of(f"cake/{session.id}/image")
