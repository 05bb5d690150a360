"""A subscription publishes to a real MQTT broker, in order, also when the broker is killed and restarted."""

import asyncio
import json
import subprocess
from pathlib import Path

import aiomqtt
import pytest

from service.subscriptions.deliverer import BACKOFFS
from service.subscriptions.topics import KEPT_S, level
from service.webhooks.retry import Backoff
from tests.support.api_kit import problem
from tests.support.certificates import certificate_for
from tests.support.commands import require_command
from tests.support.events_kit import times_s
from tests.support.mosquitto import mosquitto, subscriber
from tests.support.running_server import running_server, until
from tests.support.subscription_kit import subscribe, until_state


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKOFFS, "mqtt", Backoff(first_s=0.2, longest_s=0.5))


async def test_the_last_event_and_the_state_of_each_label_are_retained(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        async with running_server(tmp_path / "data") as server:
            await subscribe(server, {"kind": "mqtt", "url": broker.url, "topic": "site/cake"})
            session = await server.running_session()
            [start] = await server.worker.starts(session.id, [1.0])
            topic = f"site/cake/{session.id}"
            async with subscriber(broker) as early:
                await early.until(f"{topic}/kick/state", "ON")
            # A later subscriber gets what was retained.
            async with subscriber(broker) as late:
                await late.until("site/cake/status", "online")
                await late.until(f"{topic}/status", "online")
                await late.until(f"{topic}/kick/state", "ON")
                await until(lambda: bool(late.of(f"{topic}/kick/event")))
                event = json.loads(late.of(f"{topic}/kick/event")[-1])
                assert (event["id"], event["label"]) == (start.id, "kick")
                await server.worker.enter(session.id, "completed")
                await late.until(f"{topic}/status", "offline")


async def test_no_action_stays_on_when_its_session_is_stopped_without_a_worker(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        async with running_server(tmp_path / "data") as server, subscriber(broker) as found:
            await subscribe(server, {"kind": "mqtt", "url": broker.url})
            session = await server.running_session()
            topic = f"cake/{session.id}"
            await server.worker.starts(session.id, [1.0])
            await found.until(f"{topic}/kick/state", "ON")
            await server.worker.enter(session.id, "stopped")
            await found.until(f"{topic}/status", "offline")
            await found.until(f"{topic}/kick/state", "OFF")
            async with aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as late:
                await late.subscribe(f"{topic}/status", qos=1)
                status = await anext(late.messages)
            # Otherwise brokers would fill with sessions that ended.
            assert vars(status.properties)["MessageExpiryInterval"] == pytest.approx(KEPT_S, abs=600)


async def test_nothing_stays_on_of_a_session_that_is_deleted_while_its_events_wait(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        async with running_server(tmp_path / "data") as server, subscriber(broker) as found:
            created = await subscribe(server, {"kind": "mqtt", "url": broker.url})
            session, other = await server.running_session(), await server.running_session()
            for each in (session, other):
                await server.worker.starts(each.id, [1.0])
                await found.until(f"cake/{each.id}/kick/state", "ON")
            await server.http.post(f"/v1/subscriptions/{created.id}/pause")
            await found.until("cake/status", "offline")
            await server.worker.enter(session.id, "stopped")
            assert (await server.http.delete(f"/v1/sessions/{session.id}")).status_code == 204
            await server.http.post(f"/v1/subscriptions/{created.id}/resume", json={})
            await found.until(f"cake/{session.id}/status", "offline")
            await found.until(f"cake/{session.id}/kick/state", "OFF")
            await found.until("cake/status", "online")
            # The pause may have come before the delivery was noted, in which case it is repeated.
            assert set(found.of(f"cake/{other.id}/kick/state")) == {"ON"}


async def test_a_subscription_with_topics_below_those_of_another_stays_online(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        async with running_server(tmp_path / "data") as server, subscriber(broker) as found:
            await subscribe(server, {"kind": "mqtt", "url": broker.url, "topic": "cake/site"})
            await found.until("cake/site/status", "online")
            await subscribe(server, {"kind": "mqtt", "url": broker.url, "topic": "cake"})
            await found.until("cake/status", "online")
            assert found.of("cake/site/status") == ["online"]


async def test_the_broker_announces_that_a_subscription_is_gone(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        async with subscriber(broker) as found:
            async with running_server(tmp_path / "data") as server:
                created = await subscribe(server, {"kind": "mqtt", "url": broker.url})
                await found.until("cake/status", "online")
                await server.http.post(f"/v1/subscriptions/{created.id}/pause")
                await found.until("cake/status", "offline")
                await server.http.post(f"/v1/subscriptions/{created.id}/resume", json={})
                await found.until("cake/status", "online")
            await found.until("cake/status", "offline")


async def test_events_of_an_outage_of_the_broker_arrive_in_order_when_it_is_back(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        async with running_server(tmp_path / "data") as server, subscriber(broker) as found:
            created = await subscribe(server, {"kind": "mqtt", "url": broker.url}, filter={"label": ["kick"]})
            session = await server.running_session()
            topic = f"cake/{session.id}/kick/event"
            before = await server.worker.starts(session.id, times_s(1, 20))
            async with asyncio.timeout(60):
                await until(lambda: len(found.of(topic)) == len(before))
            broker.kill()
            meanwhile = await server.worker.starts(session.id, times_s(20, 60))
            failing = await until_state(server, created.id, "retrying")
            assert failing.last_error is not None
            metrics = (await server.http.get("/metrics")).text
            assert "cake_subscriptions_failing 1.0" in metrics
            assert "cake_subscriptions_pending 1.0" in metrics
            broker.start()
            after = await server.worker.starts(session.id, times_s(60, 70))
            expected = [event.id for event in (*before, *meanwhile, *after)]
            async with asyncio.timeout(60):
                await until(lambda: bool(found.of(topic)) and json.loads(found.of(topic)[-1])["id"] == expected[-1])
            received = [json.loads(payload)["id"] for payload in found.of(topic)]
            assert list(dict.fromkeys(received)) == expected
            assert (await until_state(server, created.id, "active")).failed_attempts == 0


async def test_the_end_of_a_delivered_action_comes_whatever_its_score(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        async with running_server(tmp_path / "data") as server, subscriber(broker) as found:
            await subscribe(server, {"kind": "mqtt", "url": broker.url}, filter={"min_score": 0.8})
            session = await server.running_session()
            await server.worker.starts(session.id, [1.0])
            await found.until(f"cake/{session.id}/kick/state", "ON")
            await server.worker.ends(session.id, start_s=1.0, end_s=2.0, score=0.4)
            await found.until(f"cake/{session.id}/kick/state", "OFF")


async def test_a_camera_may_keep_its_topics_by_its_name(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        async with running_server(tmp_path / "data") as server, subscriber(broker) as found:
            await subscribe(server, {"kind": "mqtt", "url": broker.url, "identify": "name"})
            for name in ("gate", "front/door #1"):
                session = await server.submit(name=name)
                await server.worker.claim()
                await server.worker.starts(session.id, [1.0])
            await found.until("cake/gate/kick/state", "ON")
            await found.until(f"cake/{level('front/door #1')}/kick/state", "ON")


async def test_a_private_authority_and_a_password_are_used(tmp_path: Path) -> None:
    certificate = certificate_for("DNS:localhost", tmp_path)
    passwords = tmp_path / "passwords"
    command = [require_command("mosquitto_passwd"), "-c", "-b", str(passwords), "cake", "p@ss"]
    await asyncio.to_thread(subprocess.run, command, check=True)
    options = (f"certfile {certificate}", f"keyfile {certificate}", f"password_file {passwords}")
    with mosquitto(tmp_path / "broker", *options) as broker:
        target = {"kind": "mqtt", "url": f"mqtts://cake:p%40ss@localhost:{broker.port}"}
        async with running_server(tmp_path / "trusting", source_ca=certificate) as server:
            created = await subscribe(server, target)
            assert created.target.url == f"mqtts://localhost:{broker.port}"
            result = (await server.http.post(f"/v1/subscriptions/{created.id}/test")).json()
            assert (result["delivered"], result["failure"]) == (True, None)
        async with running_server(tmp_path / "other") as server:
            created = await subscribe(server, target)
            result = (await server.http.post(f"/v1/subscriptions/{created.id}/test")).json()
            assert "CERTIFICATE_VERIFY_FAILED" in result["failure"]
            assert "p@ss" not in result["failure"]


async def test_a_broker_in_the_inner_network_is_refused_also_behind_a_name(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        async with running_server(tmp_path / "data", source_allow="10.0.0.0/8") as server:
            body = {"target": {"kind": "mqtt", "url": broker.url}}
            problem(await server.http.post("/v1/subscriptions", json=body), 403, "webhook_forbidden")
        async with running_server(tmp_path / "data") as server:
            created = await subscribe(server, {"kind": "mqtt", "url": broker.url})
            await until_state(server, created.id, "active")
        async with running_server(tmp_path / "data", source_allow="10.0.0.0/8") as server:
            failing = await until_state(server, created.id, "retrying")
            assert failing.last_error == "source_forbidden"


async def test_a_test_message_reaches_the_broker(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        async with running_server(tmp_path / "data") as server, subscriber(broker) as found:
            created = await subscribe(server, {"kind": "mqtt", "url": broker.url})
            result = (await server.http.post(f"/v1/subscriptions/{created.id}/test")).json()
            assert result["delivered"]
            async with asyncio.timeout(60):
                await until(lambda: bool(found.of("cake/test")))
            assert json.loads(found.of("cake/test")[0])["subscription_id"] == created.id


async def test_messages_that_the_brokers_access_rules_refuse_are_not_lost(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text("topic readwrite other/#\ntopic read cake/#\n")
    with mosquitto(tmp_path / "broker", "allow_anonymous true", f"acl_file {rules}") as broker:
        async with running_server(tmp_path / "data") as server, subscriber(broker) as found:
            created = await subscribe(server, {"kind": "mqtt", "url": broker.url})
            session = await server.running_session()
            starts = await server.worker.starts(session.id, [1.0, 2.0])
            failing = await until_state(server, created.id, "retrying")
            assert failing.last_error is not None
            assert failing.last_error.startswith("Not authorized: cake/")
            result = (await server.http.post(f"/v1/subscriptions/{created.id}/test")).json()
            assert (result["delivered"], result["failure"]) == (False, "Not authorized: cake/test")
            rules.write_text("topic readwrite cake/#\n")
            broker.stop()
            broker.start()
            topic = f"cake/{session.id}/kick/event"
            async with asyncio.timeout(60):
                await until(lambda: bool(found.of(topic)) and json.loads(found.of(topic)[-1])["id"] == starts[-1].id)
            received = [json.loads(payload)["id"] for payload in found.of(topic)]
            assert list(dict.fromkeys(received)) == [event.id for event in starts]


async def test_an_event_that_is_too_large_for_the_broker_is_told_and_not_lost(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker", "allow_anonymous true", "max_packet_size 2000") as broker:
        async with running_server(tmp_path / "data") as server, subscriber(broker) as found:
            created = await subscribe(server, {"kind": "mqtt", "url": broker.url})
            session = await server.submit(metadata={"note": "ü" * 900})
            await server.worker.claim()
            await server.worker.starts(session.id, [1.0])
            failing = await until_state(server, created.id, "retrying")
            assert failing.last_error is not None
            assert failing.last_error.startswith("the broker accepts 2000 bytes, the message has ")
            assert not found.of(f"cake/{session.id}/kick/event")
