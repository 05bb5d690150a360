"""Behaviour specific to the Redis store: addresses, limits, queues, and which server delivers webhooks."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr
from redis.asyncio import Redis
from structlog.testing import capture_logs

from service.errors import StoreUnavailableError
from service.store import open_store
from service.store.protocols import Store
from service.store.records import SessionRecord, SessionUpdate, state_event
from service.store.redis.store import open_redis_store
from service.store.webhook_records import StoredWebhook
from service.store.worker_records import WorkerInfo
from service.store_url import StoreUrlError
from tests.support.redis_server import RedisServer, redis_of
from tests.support.store_kit import (
    CHECKPOINT,
    MODEL,
    Clock,
    claimed,
    event_ids,
    open_redis,
    queue,
    record,
    start,
    with_worker,
)


@pytest_asyncio.fixture
async def store(redis_url: str, clock: Clock) -> AsyncIterator[Store]:
    async with with_worker(open_redis(redis_url, clock)) as opened:
        yield opened


async def test_another_client_of_the_same_redis_sees_commits(store: Store, redis_url: str, clock: Clock) -> None:
    session = await claimed(store)
    other = open_redis(redis_url, clock)
    waiting = asyncio.create_task(other.log.wait(await other.log.end(), timeout_s=30))
    await asyncio.sleep(0.05)
    await store.log.commit(session.id, session.token, events=[start(session.id, "5-0")])
    await asyncio.wait_for(waiting, timeout=60)
    assert await event_ids(other, session.id) == ["0-0", "5-0"]
    await other.close()


async def test_cancellation_works_wherever_a_task_waits(store: Store) -> None:
    async def read_for_ever() -> None:
        while True:
            await store.log.wait("0", timeout_s=1.0)
            await store.log.read(after="0")

    await queue(store)
    for round_number in range(200):
        reading = asyncio.create_task(read_for_ever())
        await asyncio.sleep(0.0002 * (round_number % 40))
        reading.cancel()
        done, _ = await asyncio.wait([reading], timeout=60)
        assert done
        assert reading.cancelled()


async def test_events_are_trimmed_by_number_and_by_age(redis_url: str, clock: Clock) -> None:
    async with with_worker(open_redis_store(redis_url, events_max=4, events_keep_s=10.0, clock=clock)) as store:
        session = await claimed(store)
        await store.log.commit(session.id, session.token, events=[start(session.id, f"{s}000-0") for s in range(1, 7)])
        assert await event_ids(store, session.id) == ["3000-0", "4000-0", "5000-0", "6000-0"]
        await store.log.commit(session.id, session.token, events=[start(session.id, "15000-0")])
        assert await event_ids(store, session.id) == ["5000-0", "6000-0", "15000-0"]
        await store.log.commit(session.id, session.token, events=[start(session.id, "4000-0")])
        assert await event_ids(store, session.id) == ["5000-0", "6000-0", "15000-0"]


async def test_one_server_at_a_time_delivers_webhooks(store: Store, redis_url: str, clock: Clock) -> None:
    target = StoredWebhook(url=SecretStr("https://example.org/hook"), secret=SecretStr("s"))
    session = await queue(store, record().model_copy(update={"webhook": target}))
    other = open_redis(redis_url, clock)
    assert [due.session_id for due in await store.outbox.due(now_unix_s=1.0, limit=8)] == [session.id]
    assert await other.outbox.due(now_unix_s=1.0, limit=8) == []
    await store.close()
    assert [due.session_id for due in await other.outbox.due(now_unix_s=1.0, limit=8)] == [session.id]
    await other.close()


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis:///0",
        "redis://host/zero",
        "redis://host/0/1",
        "redis://host?ca=x",
        "rediss://host?unknown=x",
        "redis+sentinel://a:1,b:2",
        "redis+another://host",
        "memory://",
    ],
)
def test_an_invalid_address_is_rejected_with_the_name_of_the_setting(url: str) -> None:
    with pytest.raises(StoreUrlError, match="CAKE_STORE_URL"):
        open_store(url)


async def test_an_unsuitable_setting_of_redis_is_logged_once(tmp_path: Path) -> None:
    with redis_of("password", tmp_path) as url:
        async with Redis.from_url(url) as client:
            await client.config_set("maxmemory-policy", "allkeys-lru")
        store = open_store(url)
        with capture_logs() as lines:
            await asyncio.gather(*(store.workers.live() for _ in range(5)))
        await store.close()
    problems = [line["problem"] for line in lines if line["event"] == "unsuitable setting of Redis"]
    assert [problem.partition(":")[0] for problem in problems] == ["maxmemory-policy is allkeys-lru"]


@pytest.mark.parametrize("kind", ["password", "sentinel", "cluster", "tls"])
async def test_the_store_works_on_every_kind_of_redis(kind: str, tmp_path: Path) -> None:
    with redis_of(kind, tmp_path) as url:
        store = open_store(url)
        await store.workers.register(WorkerInfo("w1", 100.0, (MODEL,)))
        session = await claimed(store)
        await store.log.commit(session.id, session.token, events=[start(session.id, "5-0")], resume_point=CHECKPOINT)
        assert await event_ids(store, session.id) == ["0-0", "5-0"]
        assert await store.log.load_resume_point(session.id) == CHECKPOINT
        assert [found.id for found in (await store.sessions.page(limit=5))[0]] == [session.id]
        await store.log.wait("0", timeout_s=1)
        assert len((await store.log.read(after="0")).entries) == 2
        assert (await store.workers.load()).workers == 1
        now = datetime.now(UTC)
        await store.keys.add_ticket("digest", "key", now=now, expires_at=now + timedelta(seconds=30))
        assert await store.keys.redeem_ticket("digest", now=now) == "key"
        assert await store.keys.all() == []
        assert await store.outbox.due(now_unix_s=1.0, limit=1) == []
        await store.close()


def group(server: RedisServer, pace: str = "fast") -> dict[str, object]:
    with server.client() as client:
        [found] = client.xinfo_groups(f"{{cake}}:queue:{pace}:mocap")
    return dict(found)


async def test_the_queues_of_a_worker_s_models_exist_before_the_first_session(
    store: Store, shared_redis: RedisServer
) -> None:
    assert [group(shared_redis, pace)["lag"] for pace in ("fast", "realtime")] == [0, 0]


async def test_the_lag_is_known_while_sessions_wait_and_others_were_stopped(
    store: Store, shared_redis: RedisServer
) -> None:
    running = await claimed(store)
    waiting = [await queue(store) for _ in range(4)]
    await store.sessions.request_stop(waiting[1].id)
    await store.sessions.delete(waiting[1].id)
    assert group(shared_redis)["lag"] == 3
    taken = [await store.workers.claim("w1") for _ in range(4)]
    assert [session and session.id for session in taken] == [waiting[0].id, waiting[2].id, waiting[3].id, None]
    assert (group(shared_redis)["lag"], group(shared_redis)["pending"]) == (0, 4)
    assert running.id not in [session and session.id for session in taken]


async def end(store: Store, session: SessionRecord) -> None:
    event = state_event(session, "completed", time=(now := datetime.now(UTC)))
    await store.log.commit(
        session.id, session.token, events=[event], update=SessionUpdate(state="completed", ended_at=now)
    )


async def test_the_lag_is_known_after_the_session_that_was_claimed_last_has_ended(
    store: Store, shared_redis: RedisServer
) -> None:
    older, newest = await claimed(store), await claimed(store)
    waiting = await queue(store)
    await end(store, newest)
    assert group(shared_redis)["lag"] == 1
    running = await store.workers.claim("w1")
    assert running is not None
    assert (running.id, group(shared_redis)["lag"]) == (waiting.id, 0)
    stopped = await queue(store)
    await store.sessions.request_stop(stopped.id)
    assert group(shared_redis)["lag"] == 0
    assert await store.workers.claim("w1") is None
    assert group(shared_redis)["lag"] == 0
    await queue(store)
    assert group(shared_redis)["lag"] == 1
    last = await store.workers.claim("w1")
    assert last is not None
    for session in (last, older, running):
        await end(store, session)
        assert group(shared_redis)["lag"] == 0
    with shared_redis.client() as client:
        assert client.xlen("{cake}:queue:fast:mocap") == 0


async def test_no_stopped_session_keeps_workers_from_being_scaled_to_none(
    store: Store, shared_redis: RedisServer
) -> None:
    """KEDA reads the lag and the length; without workers, no claim comes."""
    waiting = [await queue(store) for _ in range(5)]
    for number, lag in ((2, 4), (4, 3), (0, 2), (1, 1), (3, 0)):
        await store.sessions.request_stop(waiting[number].id)
        assert group(shared_redis)["lag"] == lag
    with shared_redis.client() as client:
        assert client.xlen("{cake}:queue:fast:mocap") == 0
    last = await queue(store)
    assert group(shared_redis)["lag"] == 1
    claim = await store.workers.claim("w1")
    assert claim is not None
    assert (claim.id, group(shared_redis)["lag"]) == (last.id, 0)


async def test_new_events_are_found_after_redis_went_back_to_older_data(
    own_redis: RedisServer, clock: Clock, tmp_path: Path
) -> None:
    async with with_worker(open_redis(own_redis.url, clock)) as store:
        session = await claimed(store)
        log = tmp_path / "appendonlydir"
        before = {path.name: path.read_bytes() for path in log.iterdir()}
        for at_s in range(1, 20):
            await store.log.commit(session.id, session.token, events=[start(session.id, f"{at_s}000-0")])
        seen = await store.log.end()
        own_redis.stop()
        with pytest.raises(StoreUnavailableError):
            await store.log.end()
        for name, content in before.items():
            (log / name).write_bytes(content)
        own_redis.start()
        await store.log.commit(session.id, session.token, events=[start(session.id, "20000-0")])
        assert len(seen) <= 14, "version 0.1 cannot write longer ones"
        page = await store.log.read(after=seen)
        assert [entry.event.id for entry in page.entries] == ["20000-0"]
