"""Each webhook has its own lane: a receiver that hangs, fails or is gone never delays another."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path

import httpcore
import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from service.observability.telemetry import ApiMetrics
from service.schemas import ENDED_STATES, SessionState
from service.sources.address_policy import AddressPolicy, read_nameservers
from service.store.protocols import Store
from service.store.records import SessionRecord, SessionUpdate, state_event
from service.store.webhook_records import StoredWebhook
from service.webhooks.delivery import Deliverer
from service.webhooks.http_client import PolicyBackend, open_pool
from service.webhooks.lanes import MAX_HANGING, MAX_LANES
from service.webhooks.signature import new_webhook_secret
from tests.support.certificates import certificate_for
from tests.support.running_server import until
from tests.support.store_kit import record
from tests.support.video_server import serve_answer
from tests.support.webhook_receiver import Receiver, receiving

LOOPBACK = AddressPolicy((ip_network("127.0.0.0/8"), ip_network("::1/128")), read_nameservers())


@contextmanager
def hanging() -> Iterator[str]:
    """A receiver that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/hook"


@asynccontextmanager
async def delivering(store: Store) -> AsyncIterator[ApiMetrics]:
    metrics = ApiMetrics(CollectorRegistry())
    async with open_pool(LOOPBACK, max_connections=MAX_LANES + MAX_HANGING) as pool:
        deliverer = Deliverer(store.outbox, store.log, pool, metrics.webhook_deliveries, metrics.poison)
        task = asyncio.create_task(deliverer.run())
        try:
            yield metrics
        finally:
            task.cancel()
            await asyncio.wait([task])


async def ended_session(store: Store, url: str, owner: str | None = None) -> SessionRecord:
    """A session with a webhook, to its end: three events."""
    target = StoredWebhook(url=SecretStr(url), secret=SecretStr(new_webhook_secret()))
    await store.sessions.create(record().model_copy(update={"webhook": target, "owner": owner}), max_queued=1000)
    session = await store.workers.claim("w1")
    assert session is not None
    states: tuple[SessionState, ...] = ("running", "completed")
    for state in states:
        event = state_event(session, state, time=datetime.now(UTC))
        await store.log.commit(session.id, session.token, events=[event], update=SessionUpdate(state=state))
        session = (await store.sessions.get(session.id)).model_copy(update={"token": session.token})
    assert session.state in ENDED_STATES
    return session


async def until_ended(receiver: Receiver) -> None:
    async with asyncio.timeout(60):
        await until(receiver.has_ended)


@pytest.mark.parametrize("owner", ["slow", None], ids=["with keys", "without keys"])
async def test_a_receiver_that_hangs_never_delays_another(
    store: Store, owner: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.webhooks.lanes.MAX_LANES", 20)
    with hanging() as hanging_url, receiving() as (url, receiver):
        for n in range(25):
            await ended_session(store, f"{hanging_url}/{n}", owner=owner)
        async with delivering(store) as metrics:
            await ended_session(store, url, owner=owner and "fast")
            await until_ended(receiver)
            # Nothing has timed out yet: the hanging receiver still holds its lanes.
            assert metrics.webhook_deliveries.labels("failed")._value.get() == 0


class Hanging:
    """Receivers at different addresses that accept connections and answer nothing."""

    def __init__(self) -> None:
        self.held = 0
        """Connections that the other side has not given up."""

    @asynccontextmanager
    async def urls(self, count: int) -> AsyncIterator[list[str]]:
        async with AsyncExitStack() as stack:
            servers = [
                await stack.enter_async_context(await asyncio.start_server(self._hold, "127.0.0.1", 0))
                for _ in range(count)
            ]
            yield [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook" for server in servers]

    async def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.held += 1
        await reader.read()
        self.held -= 1
        writer.close()


@pytest.fixture
def few_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a test reaches soon, and receivers that hang for good."""
    for name, value in {
        "lanes.MAX_LANES": 20,
        "lanes.MAX_LANES_PER_OWNER": 5,
        "lanes.MAX_HANGING": 100,
        "lanes.MAX_HANGING_PER_OWNER": 50,
        "delivery.HANGS_AFTER_S": 0.05,
        "post.POST_TIMEOUT_S": 3600.0,
    }.items():
        monkeypatch.setattr(f"service.webhooks.{name}", value)


@pytest.mark.usefixtures("few_lanes")
@pytest.mark.parametrize(("count", "owner"), [(90, None), (40, "key")], ids=["without keys", "of one key"])
async def test_many_hanging_receivers_delay_no_other_while_they_hold_their_connections(
    store: Store, count: int, owner: str | None
) -> None:
    hanging = Hanging()
    async with hanging.urls(count) as urls:
        for hanging_url in urls:
            await ended_session(store, hanging_url, owner=owner)
        with receiving() as (url, receiver):
            async with delivering(store) as metrics:
                async with asyncio.timeout(60):
                    await until(lambda: hanging.held == count)
                await ended_session(store, url, owner=owner)
                await until_ended(receiver)
                assert hanging.held == count
                assert metrics.webhook_deliveries.labels("failed")._value.get() == 0


@pytest.mark.usefixtures("few_lanes")
@pytest.mark.parametrize("owner", ["key", None], ids=["of one key", "without keys"])
async def test_when_too_many_receivers_hang_the_longest_hanging_make_room(
    store: Store, owner: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MAX_HANGING", "MAX_HANGING_PER_OWNER"):
        monkeypatch.setattr(f"service.webhooks.lanes.{name}", 10)
    hanging = Hanging()
    async with hanging.urls(60) as urls:
        for hanging_url in urls:
            await ended_session(store, hanging_url, owner=owner)
        with receiving() as (url, receiver):
            async with delivering(store) as metrics:
                await ended_session(store, url, owner=owner)
                await until_ended(receiver)
                async with asyncio.timeout(60):
                    await until(lambda: metrics.webhook_deliveries.labels("failed")._value.get() >= 50)
                    await until(lambda: hanging.held >= 10)


async def test_a_busy_webhook_is_delivered_whole_and_in_order(store: Store) -> None:
    with receiving() as (url, receiver):
        session = await ended_session(store, url)
        async with delivering(store):
            await until_ended(receiver)
        assert receiver.ids == [event.id for event in await store.log.read_events(session.id)]


@pytest.mark.parametrize("dead", ["127.0.0.9", "::1"])
async def test_all_addresses_of_a_name_are_tried(dead: str) -> None:
    with receiving() as (url, _receiver):
        port = httpcore.URL(url).port
        assert port is not None
        backend = PolicyBackend(LOOPBACK)
        addresses = [ip_address(dead), ip_address("127.0.0.1")]
        stream = await backend.connect_to_first(addresses, port, timeout=60.0)
        await stream.aclose()
        with pytest.raises(httpcore.ConnectError):
            await backend.connect_to_first(addresses[:1], port, timeout=60.0)


async def test_a_receiver_with_a_private_authority_is_trusted_once_its_certificate_is_named(tmp_path: Path) -> None:
    certificate = certificate_for("IP:127.0.0.1", tmp_path)
    with serve_answer("127.0.0.1", certificate=certificate) as (url, _visits):
        async with open_pool(LOOPBACK, max_connections=1, authorities=certificate) as pool:
            assert (await pool.request("GET", url)).status == 200
        async with open_pool(LOOPBACK, max_connections=1) as pool:
            with pytest.raises(httpcore.ConnectError, match="certificate verify failed"):
                await pool.request("GET", url)
