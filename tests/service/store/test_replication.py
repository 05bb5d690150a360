"""Data that replicas have not confirmed are neither acknowledged nor shown, because a failover would lose them."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from service.errors import StoreUnavailableError
from service.store import open_store
from service.store.protocols import Store
from service.store.records import SessionRecord
from service.store.redis.connect import connect
from service.store.redis.replication import Replication
from service.store.redis.replies import translated
from service.store.redis.sentinels import TIMEOUT_S
from service.store.worker_records import WorkerInfo
from tests.support.redis_server import ReplicatedRedis, replicated_redis
from tests.support.running_server import running_server
from tests.support.store_kit import MODEL, claimed, record, start

pytestmark = pytest.mark.slow


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[ReplicatedRedis]:
    with replicated_redis(tmp_path) as servers:
        yield servers
        servers.servers[1].resume()


@pytest.fixture
async def store(redis: ReplicatedRedis) -> AsyncIterator[Store]:
    """With a worker."""
    opened = open_store(redis.url)
    await opened.workers.register(WorkerInfo("w1", 100.0, (MODEL,)))
    yield opened
    await opened.close()


async def created(store: Store, key: str | None = None) -> SessionRecord:
    return await store.sessions.create(record(), max_queued=10, idempotency_key=key)


async def test_a_slow_reply_does_not_mean_that_there_are_no_replicas(redis: ReplicatedRedis) -> None:
    connected = connect(redis.url)
    assert isinstance(connected.client, Redis)
    assert connected.sentinels is not None
    replication = Replication(connected.client, connected.sentinels)
    with redis.servers[0].client() as client:
        client.execute_command("CLIENT", "PAUSE", round(TIMEOUT_S * 1500), "ALL")
    assert await replication.required() == 1
    await connected.aclose()


async def test_a_primary_that_does_not_report_its_replicas_gets_no_writes(redis: ReplicatedRedis, store: Store) -> None:
    with redis.servers[0].client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-info")
    newly_opened = open_store(redis.url)
    with pytest.raises(StoreUnavailableError, match="info"):
        await created(newly_opened)
    await newly_opened.close()


async def test_a_repeated_submission_is_acknowledged_only_once_replicas_have_it(
    redis: ReplicatedRedis, store: Store
) -> None:
    elsewhere = open_store(redis.url)
    assert not await elsewhere.keys.exist()
    redis.servers[1].pause()
    for server in (store, elsewhere):
        with pytest.raises(StoreUnavailableError, match="replicas"):
            await created(server, "key")
    redis.servers[1].resume()
    first = await _until_available(store, "key")
    assert (await store.sessions.page(limit=10))[0] == [first]
    await elsewhere.close()


async def test_an_upload_stays_while_it_is_unknown_whether_its_session_exists(
    redis: ReplicatedRedis, tmp_path: Path
) -> None:
    async with asyncio.timeout(300), running_server(tmp_path / "data", store_url=redis.url) as server:

        async def upload() -> httpx.Response:
            return await server.http.post("/v1/sessions", files={"file": b"video"}, headers={"idempotency-key": "key"})

        redis.servers[1].pause()
        assert (await upload()).json()["code"] == "store_unavailable"
        redis.servers[1].resume()
        while (answer := await upload()).status_code == 503:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        [stored] = (tmp_path / "data" / "uploads").iterdir()
        assert (stored.name, stored.read_bytes()) == (answer.json()["id"], b"video")


async def _until_available(store: Store, key: str) -> SessionRecord:
    while True:
        try:
            return await created(store, key)
        except StoreUnavailableError:
            await asyncio.sleep(0.05)


async def test_events_are_shown_only_once_replicas_have_them(redis: ReplicatedRedis, store: Store) -> None:
    session, follower = await claimed(store), open_store(redis.url)
    [first] = await follower.log.read_events(session.id)
    redis.servers[1].pause()
    with pytest.raises(StoreUnavailableError):
        await store.log.commit(session.id, session.token, events=[start(session.id, "1-0")])
    for reading in (follower.log.read_events(session.id), follower.log.read(after="0"), follower.log.read_back()):
        with pytest.raises(StoreUnavailableError, match="replicas"):
            await reading
    # What they have confirmed can be read all the time.
    assert await follower.log.read_events(session.id, limit=1) == [first]
    redis.servers[1].resume()
    while True:
        try:
            events = await follower.log.read_events(session.id)
            break
        except StoreUnavailableError:
            await asyncio.sleep(0.05)
    assert [event.id for event in events] == [first.id, "1-0"]
    page = await follower.log.read(after="0")
    assert [entry.event for entry in page.entries] == events
    await follower.close()


@pytest.mark.parametrize("kind", ["one server", "sentinel"])
async def test_connections_that_are_closed_during_a_command_are_lost_connections(
    kind: str, redis: ReplicatedRedis
) -> None:
    connected = connect(redis.url if kind == "sentinel" else redis.servers[0].url)
    client = connected.client
    assert isinstance(client, Redis)
    for _ in range(100):
        pings = [asyncio.create_task(translated(client.ping())) for _ in range(5)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(client.connection_pool.disconnect())
        results = await asyncio.gather(*pings, return_exceptions=True)
        await asyncio.gather(closing, return_exceptions=True)
        assert [result for result in results if not isinstance(result, bool | StoreUnavailableError)] == []
    await connected.aclose()


async def test_the_settings_of_every_new_primary_are_checked(redis: ReplicatedRedis, store: Store) -> None:
    with redis.servers[1].client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    with capture_logs() as lines:
        await created(store)
        assert not _warnings(lines)
        await asyncio.to_thread(redis.fail_over)
        async with asyncio.timeout(300):
            while not _warnings(lines):
                await store.workers.live()
                await asyncio.sleep(0.1)


def _warnings(lines: Sequence[object]) -> list[object]:
    return [line for line in lines if "allkeys-lru" in str(line)]
