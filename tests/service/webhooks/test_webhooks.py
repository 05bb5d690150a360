"""Events reach a webhook in order, signed, through failures of the receiver and the death of the server."""

import asyncio
import signal
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from service.event_schemas import EVENT
from service.observability.telemetry import ApiMetrics
from service.settings import Settings
from service.sources.address_policy import PUBLIC_ONLY, AddressPolicy
from service.store import open_store
from service.webhooks.delivery import Deliverer
from service.webhooks.http_client import open_pool
from service.webhooks.retry import GIVE_UP_AFTER_S, LONGEST_RETRY_S
from service.webhooks.signature import new_webhook_secret, signed_headers
from tests.support.api_kit import problem
from tests.support.events_kit import all_ids, times_s
from tests.support.running_server import Running, Worker, child_server, running_server, until
from tests.support.webhook_receiver import receiving


async def completed_session(server: Running, url: str, **webhook: str) -> tuple[str, str]:
    """A session with some starts, to its end; gives its id and the webhook's secret."""
    session = await server.submit(webhook={"url": url, **webhook})
    assert session.webhook is not None
    assert session.webhook.secret is not None
    await server.worker.claim()
    await server.worker.enter(session.id, "running")
    await server.worker.starts(session.id, times_s(1, 30))
    await server.worker.enter(session.id, "completed")
    return session.id, session.webhook.secret


async def test_every_event_is_posted_once_in_order_and_signed(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        with receiving() as (url, receiver):
            session_id, secret = await completed_session(server, url)
            await until(receiver.has_ended)
        assert receiver.ids == await all_ids(server, session_id)
        for headers, body in receiver.messages:
            sent_unix_s = int(headers["webhook-timestamp"])
            signed = signed_headers([secret], headers["webhook-id"], sent_unix_s, body)
            assert signed.items() <= headers.items()
            assert headers["webhook-id"] == f"{session_id}_{EVENT.validate_json(body).id}"
        metrics = (await server.http.get("/metrics")).text
        assert f'cake_webhook_deliveries_total{{outcome="delivered"}} {float(len(receiver.taken))}' in metrics


async def test_the_secret_is_told_once_and_a_callers_own_is_taken(tmp_path: Path) -> None:
    secret = new_webhook_secret()
    async with running_server(tmp_path / "data") as server:
        session = await server.submit(webhook={"url": "http://u:p@127.0.0.1:9/hook?t=1", "secret": secret})
        assert session.webhook is not None
        assert session.webhook.secret == secret
        assert session.webhook.url == "http://127.0.0.1:9/hook?…"
        again = (await server.http.get(session.links.self)).json()
        assert again["webhook"] == {"url": "http://127.0.0.1:9/hook?…", "secret": None}
        body = {"source": {"url": "http://example.org/v.mp4"}, "webhook": {"url": "http://127.0.0.1/", "secret": "x"}}
        reported = problem(await server.http.post("/v1/sessions", json=body), 422, "invalid_request")
        assert reported.errors is not None
        assert reported.errors[0].field == "webhook.secret"


async def test_a_webhook_into_the_inner_network_is_refused(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        body = {"source": {"url": "http://example.org/v.mp4"}, "webhook": {"url": "http://169.254.169.254/"}}
        problem(await server.http.post("/v1/sessions", json=body), 403, "webhook_forbidden")


IMPOSSIBLE_HOSTS = ("a..b", ".example.org", "example..", "x" * 64 + ".example.org", ".".join(["abcdefg"] * 40))


@pytest.mark.parametrize("host", [*IMPOSSIBLE_HOSTS, "cam*", "a,b", "1.2.3.4.5", "a%20b", "%00"])
async def test_a_host_name_that_cannot_exist_is_rejected_at_submission(tmp_path: Path, host: str) -> None:
    async with running_server(tmp_path / "data") as server:
        source = {"url": "http://example.org/v.mp4"}
        body = {"source": source, "webhook": {"url": f"http://{host}/hook"}}
        found = problem(await server.http.post("/v1/sessions", json=body), 422, "invalid_request")
        assert found.errors is not None
        assert found.errors[0].field == "webhook.url"
        body = {"source": {"url": f"rtsp://{host}/stream"}}
        found = problem(await server.http.post("/v1/sessions", json=body), 422, "invalid_request")
        assert found.errors is not None
        assert found.errors[0].field == "source.url"


async def test_stored_webhooks_that_cannot_be_posted_to_fail_by_themselves(tmp_path: Path) -> None:
    """Rows that an earlier version accepted must not end the server, nor hold up another webhook."""
    impossible = [f"http://{host}/" for host in IMPOSSIBLE_HOSTS] + ["http://[::1", "no scheme"]
    data_dir = tmp_path / "data"
    with receiving() as (good_url, receiver):
        async with child_server(data_dir, environ={"CAKE_SOURCE_ALLOW": "127.0.0.0/8"}) as child:
            store = open_store(f"sqlite://{data_dir.resolve() / 'cake.db'}")
            worker = Worker(store)
            await worker.register()
            async with httpx.AsyncClient(base_url=child.url, verify=False, timeout=120) as client:
                for target in [*(f"http://127.0.0.1:9/{number}" for number in range(len(impossible))), good_url]:
                    body = {"source": {"url": "http://example.org/v.mp4"}, "webhook": {"url": target}}
                    assert (await client.post("/v1/sessions", json=body)).status_code == 202
                with closing(sqlite3.connect(data_dir / "cake.db")) as database, database:
                    for number, url in enumerate(impossible):
                        database.execute(
                            "UPDATE webhooks SET url = ? WHERE url = ?", (url, f"http://127.0.0.1:9/{number}")
                        )
                for _ in (*impossible, good_url):
                    record = await worker.claim()
                    await worker.enter(record.id, "running")
                await worker.starts(record.id, times_s(1, 5))
                await worker.enter(record.id, "completed")
                async with asyncio.timeout(120):
                    await until(receiver.has_ended)
                assert (await client.get("/livez")).status_code == 200
            await store.close()


@dataclass
class Clock:
    now_unix_s: float = 1e9

    def __call__(self) -> float:
        return self.now_unix_s


async def rounds(server: Running, clock: Clock, policy: AddressPolicy, *, waits: int) -> None:
    """Deliver what is due, and again after the longest wait, for so many waits."""
    metrics = ApiMetrics(CollectorRegistry())
    async with open_pool(policy, max_connections=10) as pool:
        store = server.worker.store
        deliverer = Deliverer(store.outbox, store.log, pool, metrics.webhook_deliveries, metrics.poison, clock=clock)
        for _ in range(waits + 1):
            while await deliverer.deliver_due():
                pass
            clock.now_unix_s += LONGEST_RETRY_S


LOOPBACK = Settings.model_validate({"source_allow": "127.0.0.0/8"}).address_policy


async def test_rejected_deliveries_are_repeated_until_the_receiver_accepts_them(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data", deliver_webhooks=False) as server:
        with receiving(statuses=[500, 302, 503]) as (url, receiver):
            session_id, _ = await completed_session(server, url)
            await rounds(server, Clock(), LOOPBACK, waits=3)
        assert receiver.ids == await all_ids(server, session_id)
        first = {headers["webhook-id"] for headers, _ in receiver.messages[:4]}
        assert len(first) == 1, "the same message each time"


async def test_a_receiver_that_answers_gone_gets_no_further_requests(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data", deliver_webhooks=False) as server:
        with receiving(statuses=[410]) as (url, receiver):
            await completed_session(server, url)
            await rounds(server, Clock(), LOOPBACK, waits=2)
        assert len(receiver.messages) == 1


async def test_a_receiver_that_never_answers_is_given_up_after_a_day(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data", deliver_webhooks=False) as server:
        with receiving(statuses=[500] * 1000) as (url, receiver):
            await completed_session(server, url)
            clock = Clock()
            await rounds(server, clock, LOOPBACK, waits=int(GIVE_UP_AFTER_S / LONGEST_RETRY_S) + 10)
        assert 24 <= len(receiver.messages) <= 27
        assert receiver.taken == []


async def test_a_name_is_judged_again_at_each_delivery(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data", deliver_webhooks=False) as server:
        with receiving() as (url, receiver):
            await completed_session(server, url.replace("127.0.0.1", "localhost"))
            clock = Clock()
            await rounds(server, clock, PUBLIC_ONLY, waits=1)
            assert receiver.messages == []
            await rounds(server, clock, LOOPBACK, waits=0)
            assert receiver.has_ended()


@pytest.mark.slow
async def test_a_killed_server_continues_where_it_stopped(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    allowed = {"CAKE_SOURCE_ALLOW": "127.0.0.0/8"}
    with receiving() as (url, receiver):
        async with child_server(data_dir, environ=allowed) as child:
            store = open_store(f"sqlite://{data_dir.resolve() / 'cake.db'}")
            worker = Worker(store)
            await worker.register()
            async with httpx.AsyncClient(base_url=child.url, verify=False, timeout=120) as client:
                body = {"source": {"url": "http://example.org/v.mp4"}, "webhook": {"url": url}}
                session_id = (await client.post("/v1/sessions", json=body)).json()["id"]
            await worker.claim()
            await worker.enter(session_id, "running")
            await worker.starts(session_id, times_s(1, 60))
            await until(lambda: len(receiver.taken) >= 10)
            child.process.send_signal(signal.SIGKILL)
            await child.process.wait()
        await worker.enter(session_id, "completed")
        async with child_server(data_dir, environ=allowed):
            async with asyncio.timeout(120):
                await until(receiver.has_ended)
        everything = [event.id for event in await store.log.read_events(session_id, limit=1000)]
        await store.close()
    once = list(dict.fromkeys(receiver.ids))
    assert once == everything
    assert len(receiver.ids) - len(once) <= 1, "only what was under way when the server died may come twice"
