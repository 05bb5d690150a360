"""A subscription posts the events of many sessions, in order and at least once, also across the death of the server."""

import asyncio
import signal
import socket
from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook as Verifier

from service.store import open_store
from service.subscriptions.deliverer import BACKOFFS
from service.webhooks.retry import Backoff
from tests.support.api_kit import problem
from tests.support.events_kit import times_s
from tests.support.running_server import Running, Worker, child_server, running_server, until
from tests.support.subscription_kit import subscribe, subscription, until_received, until_state
from tests.support.webhook_receiver import receiving

STARTS = {"type": ["action.start"]}


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKOFFS, "webhook", Backoff(first_s=0.05, longest_s=0.1))


async def two_sessions(server: Running) -> list[str]:
    return [(await server.running_session()).id for _ in range(2)]


async def test_events_of_all_sessions_are_posted_in_their_order_and_signed(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        with receiving() as (url, receiver):
            created = await subscribe(server, {"kind": "webhook", "url": url}, filter=STARTS)
            assert created.target.kind == "webhook"
            assert created.target.secret is not None
            first, second = await two_sessions(server)
            expected = []
            for n in range(1, 31):
                for session_id in (first, second):
                    [event] = await server.worker.starts(session_id, [float(n)])
                    expected.append((session_id, event.id))
            await until_received(len(expected), receiver.taken)
        assert [(event["session_id"], event["id"]) for event in receiver.taken] == expected
        for headers, body in receiver.messages:
            Verifier(created.target.secret).verify(body, headers)
        async with asyncio.timeout(60):
            while (found := await subscription(server, created.id)).delivered < len(expected):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (found.state, found.delivered) == ("active", len(expected))
        assert found.target.kind == "webhook"
        assert found.target.secret is None
        metrics = (await server.http.get("/metrics")).text
        assert (
            f'cake_subscription_deliveries_total{{outcome="delivered",target="webhook"}} {len(expected)}.0' in metrics
        )


async def test_only_events_that_pass_the_filter_are_posted(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        with receiving() as (url, receiver):
            session = await server.submit(name="gate", metadata={"site": "north"})
            await server.worker.claim()
            other = await server.submit(name="yard")
            await server.worker.claim()
            wanted = {"name": ["gate"], "metadata": {"site": ["north", "south"]}, "label": ["kick"], "min_score": 0.5}
            await subscribe(server, {"kind": "webhook", "url": url}, filter=wanted)
            await server.worker.starts(other.id, times_s(1, 10))
            await server.worker.starts(session.id, [3.0])
            await until_received(1, receiver.taken)
            assert [event["session_id"] for event in receiver.taken] == [session.id]


async def test_a_cooldown_spaces_the_actions_of_each_session(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        with receiving() as (url, receiver):
            await subscribe(server, {"kind": "webhook", "url": url}, filter=STARTS, cooldown_s=5)
            first, second = await two_sessions(server)
            await server.worker.starts(first, [1.0, 2.0, 5.9, 6.0, 10.0])
            await server.worker.starts(second, [3.0, 8.0])
            await until_received(4, receiver.taken)
        assert [(event["session_id"], event["start_s"]) for event in receiver.taken] == [
            (first, 1.0),
            (first, 6.0),
            (second, 3.0),
            (second, 8.0),
        ]


async def test_events_missed_while_paused_are_delivered_after_the_resumption(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        with receiving() as (url, receiver):

            async def until_start(start_s: float) -> None:
                async with asyncio.timeout(60):
                    await until(lambda: any(event["start_s"] == start_s for event in receiver.taken))

            created = await subscribe(server, {"kind": "webhook", "url": url}, filter=STARTS)
            path = f"/v1/subscriptions/{created.id}"
            [session_id, _] = await two_sessions(server)
            await server.worker.starts(session_id, [1.0])
            await until_received(1, receiver.taken)
            assert (await server.http.post(f"{path}/pause")).json()["state"] == "paused"
            await server.worker.starts(session_id, [2.0, 3.0])
            assert (await server.http.post(f"{path}/resume", json={})).json()["state"] == "active"
            await until_start(3.0)
            await server.http.post(f"{path}/pause")
            await server.worker.starts(session_id, [4.0])
            resumed = (await server.http.post(f"{path}/resume", json={"skip_missed": True})).json()
            assert resumed["cursor"] == await server.worker.store.log.end()
            await server.worker.starts(session_id, [5.0])
            await until_start(5.0)
        # A pause takes effect within a second; what was delivered right before may come again.
        starts_s = list(dict.fromkeys(event["start_s"] for event in receiver.taken))
        assert [start_s for start_s in starts_s if start_s != 4.0] == [1.0, 2.0, 3.0, 5.0]


@pytest.mark.usefixtures("quick_retries")
async def test_a_receiver_that_fails_gets_the_same_message_until_it_accepts(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        with receiving(statuses=[500, 302, 503]) as (url, receiver):
            created = await subscribe(server, {"kind": "webhook", "url": url}, filter=STARTS)
            [session_id, _] = await two_sessions(server)
            events = await server.worker.starts(session_id, [1.0, 2.0])
            await until_received(2, receiver.taken)
        sent = [headers["webhook-id"] for headers, _ in receiver.messages]
        assert sent == [f"{session_id}_{events[n].id}" for n in (0, 0, 0, 0, 1)]
        found = await until_state(server, created.id, "active")
        assert (found.last_error, found.failed_attempts) == ("503", 0)


@pytest.mark.usefixtures("quick_retries")
async def test_a_receiver_that_hangs_never_delays_another(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        with receiving() as (url, receiver), socket.create_server(("127.0.0.1", 0), backlog=100) as hanging:
            port = hanging.getsockname()[1]
            for _ in range(20):
                await subscribe(server, {"kind": "webhook", "url": f"http://127.0.0.1:{port}/"})
            await subscribe(server, {"kind": "webhook", "url": url}, filter=STARTS)
            [session_id, _] = await two_sessions(server)
            await server.worker.starts(session_id, times_s(1, 10))
            await until_received(9, receiver.taken)


async def test_a_receiver_that_answers_gone_is_disabled_until_it_is_resumed(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        with receiving(statuses=[410]) as (url, receiver):
            created = await subscribe(server, {"kind": "webhook", "url": url}, filter=STARTS)
            [session_id, _] = await two_sessions(server)
            await server.worker.starts(session_id, [1.0])
            found = await until_state(server, created.id, "disabled")
            assert (found.last_error, found.attempts[0].session_id) == ("410", session_id)
            await server.http.post(f"/v1/subscriptions/{created.id}/resume", json={})
            await until_received(1, receiver.taken)


async def test_a_rotated_secret_signs_together_with_the_old_one(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        with receiving() as (url, receiver):
            created = await subscribe(server, {"kind": "webhook", "url": url}, filter=STARTS)
            path = f"/v1/subscriptions/{created.id}/rotate-secret"
            rotated = (await server.http.post(path, json={})).json()["target"]["secret"]
            answer = await server.http.post(f"/v1/subscriptions/{created.id}/test")
            assert answer.json()["delivered"]
            session = await server.running_session()
            await server.worker.starts(session.id, [1.0])
            await until_received(2, receiver.taken)
        assert created.target.kind == "webhook"
        assert created.target.secret not in (None, rotated)
        # The event may have been sent while the lane of the old secret was being closed.
        [(headers, body), _] = receiver.messages
        for secret in (created.target.secret, rotated):
            assert secret is not None
            Verifier(secret).verify(body, headers)
        assert (await subscription(server, created.id)).target.model_dump()["secret"] is None
        broker = await subscribe(server, {"kind": "mqtt", "url": "mqtt://127.0.0.1:1"})
        refused = await server.http.post(f"/v1/subscriptions/{broker.id}/rotate-secret", json={})
        problem(refused, 422, "invalid_request")


@pytest.mark.slow
async def test_a_killed_server_continues_where_it_stopped(tmp_path: Path) -> None:
    data_dir, environ = tmp_path / "data", {"CAKE_SOURCE_ALLOW": "127.0.0.0/8"}
    store = None
    with receiving() as (url, receiver):
        async with child_server(data_dir, environ=environ) as child:
            store = open_store(f"sqlite://{data_dir.resolve() / 'cake.db'}")
            worker = Worker(store)
            await worker.register()
            async with httpx.AsyncClient(base_url=child.url, verify=False, timeout=120) as client:
                body = {"target": {"kind": "webhook", "url": url}, "filter": STARTS, "cooldown_s": 0.3}
                assert (await client.post("/v1/subscriptions", json=body)).status_code == 201
                session_id = (await client.post("/v1/sessions", json={"source": {"url": url}})).json()["id"]
            await worker.claim()
            await worker.enter(session_id, "running")
            await worker.starts(session_id, times_s(1, 200))
            await until(lambda: len(receiver.taken) >= 30)
            child.process.send_signal(signal.SIGKILL)
            await child.process.wait()
        await worker.starts(session_id, times_s(200, 301))
        async with child_server(data_dir, environ=environ):
            async with asyncio.timeout(60):
                await until(lambda: bool(receiver.taken) and receiver.taken[-1]["start_s"] >= 29.8)
    await store.close()
    once = list(dict.fromkeys(event["start_s"] for event in receiver.taken))
    assert once == [round(n / 10, 1) for n in range(1, 301, 3)]
    assert len(receiver.taken) - len(once) <= 20, "what was not noted when the server died may come twice"


async def test_a_test_message_is_sent_immediately_and_its_failure_is_returned(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        with receiving(statuses=[503]) as (url, receiver):
            created = await subscribe(server, {"kind": "webhook", "url": url})
            path = f"/v1/subscriptions/{created.id}"
            await server.http.post(f"{path}/pause")
            result = (await server.http.post(f"{path}/test")).json()
            assert (result["delivered"], result["failure"]) == (False, "503")
            result = (await server.http.post(f"{path}/test")).json()
            assert (result["delivered"], result["failure"]) == (True, None)
        [message] = receiver.taken
        assert (message["type"], message["subscription_id"]) == ("subscription.test", created.id)
