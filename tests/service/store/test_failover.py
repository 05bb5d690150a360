"""A Sentinel replaces the primary: no acknowledged event is lost, and followers miss none."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from service.background import background_task
from service.errors import ServiceError
from service.store import open_store
from service.store.protocols import Store
from service.store.records import SessionRecord
from service.store.redis.required_settings import problems
from service.store.webhook_records import StoredWebhook
from service.store.worker_records import WorkerInfo
from tests.support.redis_server import ReplicatedRedis, replicated_redis
from tests.support.store_kit import MODEL, claimed, record, start


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[ReplicatedRedis]:
    with replicated_redis(tmp_path) as servers:
        yield servers


async def commit(store: Store, session: SessionRecord, event_id: str) -> None:
    """Repeat the commit until the store acknowledges it, as a session does."""
    while True:
        try:
            await store.log.commit(session.id, session.token, events=[start(session.id, event_id)])
            return
        except ServiceError:
            await asyncio.sleep(0.2)


async def follow(store: Store, seen: list[str]) -> None:
    """As the feed of a server."""
    cursor = "0"
    while True:
        try:
            await store.log.wait(cursor, timeout_s=1.0)
            page = await store.log.read(after=cursor)
        except ServiceError:
            await asyncio.sleep(0.2)
            continue
        seen += [entry.event.id for entry in page.entries]
        cursor = page.cursor


@pytest.fixture
async def stores(redis: ReplicatedRedis) -> AsyncIterator[tuple[Store, Store]]:
    """Of a worker and of a server."""
    store, follower = open_store(redis.url), open_store(redis.url)
    yield store, follower
    await store.close()
    await follower.close()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["planned", "unplanned"])
async def test_a_failover_loses_no_event(how: str, redis: ReplicatedRedis, stores: tuple[Store, Store]) -> None:
    store, follower = stores
    await store.workers.register(WorkerInfo("w1", 100.0, (MODEL,)))
    session = await claimed(store)
    seen: list[str] = []
    committed = ["0-0"]

    async def commit_next() -> None:
        event_id = f"{len(committed)}-0"
        await commit(store, session, event_id)
        committed.append(event_id)
        await asyncio.sleep(0.05)

    async with asyncio.timeout(300), background_task(follow(follower, seen)):
        for _ in range(20):
            await commit_next()
        before = redis.primary_port()
        await asyncio.to_thread(redis.fail_over if how == "planned" else redis.servers[0].stop)
        while await asyncio.to_thread(redis.primary_port) == before:
            await commit_next()
        while how == "planned" and not await asyncio.to_thread(redis.was_demoted):
            await commit_next()
        for _ in range(20):
            await commit_next()
        while committed[-1] not in seen:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert [event.id for event in await store.log.read_events(session.id, limit=10_000)] == committed
    assert set(committed) <= set(seen)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["planned", "unplanned"])
async def test_a_failover_loses_no_rotated_secret(
    how: str, redis: ReplicatedRedis, stores: tuple[Store, Store]
) -> None:
    store, _ = stores
    await store.workers.register(WorkerInfo("w1", 100.0, (MODEL,)))
    target = StoredWebhook(url=SecretStr("http://example.org/hook"), secret=SecretStr("whsec_0"))
    session = await store.sessions.create(record().model_copy(update={"webhook": target}), max_queued=10)
    rotations = 0

    async def signed_with() -> list[str]:
        while True:
            try:
                progress = await store.outbox.progress(session.id)
                break
            except ServiceError:
                await asyncio.sleep(0.2)
        assert progress is not None
        return [each.get_secret_value() for each in (progress.webhook.secret, progress.webhook.old_secret) if each]

    async def rotate() -> None:
        """Repeat the rotation until the store acknowledges it, as a client does."""
        nonlocal rotations
        rotations += 1
        while True:
            try:
                secret = SecretStr(f"whsec_{rotations}")
                await store.outbox.rotate_secret(session.id, secret, old_until_unix_s=1e10)
                break
            except ServiceError:
                await asyncio.sleep(0.2)
        assert await signed_with() == [f"whsec_{rotations}", f"whsec_{rotations - 1}"]
        await asyncio.sleep(0.05)

    async with asyncio.timeout(90):
        before = redis.primary_port()
        await asyncio.to_thread(redis.fail_over if how == "planned" else redis.servers[0].stop)
        while await asyncio.to_thread(redis.primary_port) == before:
            await rotate()
        while how == "planned" and not await asyncio.to_thread(redis.was_demoted):
            await rotate()
        assert await signed_with() == [f"whsec_{rotations}", f"whsec_{rotations - 1}"]
        await rotate()


@pytest.mark.parametrize(
    ("config", "has_replicas", "words"),
    [
        ({"appendonly": "yes", "maxmemory-policy": "noeviction", "min-replicas-to-write": "0"}, False, []),
        ({"appendonly": "no", "maxmemory-policy": "allkeys-lru"}, False, ["appendonly", "maxmemory-policy"]),
        ({"appendonly": "yes", "min-replicas-to-write": "0"}, True, ["min-replicas-to-write"]),
        ({"min-replicas-to-write": "1", "min-replicas-max-lag": "60"}, True, ["min-replicas-max-lag"]),
    ],
)
def test_unsuitable_settings_are_named(config: dict[str, str], has_replicas: bool, words: list[str]) -> None:
    assert [problem.split()[0] for problem in problems(config, has_replicas=has_replicas)] == words
