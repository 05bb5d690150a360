"""What is particular to the Redis store: its addresses, its absence, its limits, and who delivers webhooks."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from redis_server import RedisServer, redis_of, redis_server
from resetting_proxy import resetting_proxy
from store_kit import CHECKPOINT, MODEL, Clock, claimed, event_ids, open_redis, queue, record, start, with_worker

from service.errors import StorageFull, StoreUnavailable
from service.store import StoreUrlInvalid, open_store
from service.store.base import LEASE_S, SessionUpdate, Store, WebhookTarget, WorkerInfo
from service.store.redis import RedisStore
from service.store.redis_scripts import translated


@pytest_asyncio.fixture
async def store(redis_url: str, clock: Clock) -> AsyncIterator[Store]:
    async with with_worker(open_redis(redis_url, clock)) as opened:
        yield opened


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """One that a test may stop."""
    with redis_server(tmp_path) as server:
        yield server


async def test_another_client_of_the_same_redis_sees_commits(store: Store, redis_url: str, clock: Clock) -> None:
    session = await claimed(store)
    other = open_redis(redis_url, clock)
    waiting = asyncio.create_task(other.wait_log(await other.log_end(), timeout_s=30))
    await asyncio.sleep(0.05)
    await store.commit(session.id, session.token, events=[start(session.id, "5-0")])
    await asyncio.wait_for(waiting, timeout=5)
    assert await event_ids(other, session.id) == ["0-0", "5-0"]
    await other.close()


async def test_connections_that_were_reset_are_made_anew(own_redis: RedisServer) -> None:
    async with resetting_proxy(own_redis.port) as proxy:
        store = RedisStore(f"redis://127.0.0.1:{proxy.port}")
        await store.has_keys()
        await proxy.reset()
        assert not await store.has_keys()
        await store.close()


async def test_a_connection_that_is_lost_before_a_command_is_an_unreachable_redis(own_redis: RedisServer) -> None:
    async with resetting_proxy(own_redis.port) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        await proxy.reset()
        with suppress(ConnectionError):
            await reader.read()

        async def command() -> None:
            writer.write(b"PING\r\n")
            await writer.drain()

        with pytest.raises(StoreUnavailable, match="CAKE_STORE_URL"):
            await translated(command())


async def test_redis_that_is_down_is_reported_and_used_again_when_it_is_back(own_redis: RedisServer) -> None:
    store = RedisStore(own_redis.url)
    await store.register_worker(WorkerInfo("w1", 100.0, (MODEL,)))
    session = await claimed(store)
    own_redis.stop()
    for call in (
        store.get_session(session.id),
        store.commit(session.id, session.token),
        store.claim_session("w1"),
        store.renew_leases("w1"),
        store.has_keys(),
        store.wait_log("0", timeout_s=5),
    ):
        with pytest.raises(StoreUnavailable, match="CAKE_STORE_URL"):
            await asyncio.wait_for(call, timeout=5)
    own_redis.start()
    await store.commit(session.id, session.token, events=[start(session.id, "5-0")])
    assert await event_ids(store, session.id) == ["0-0", "5-0"]
    await store.close()


async def test_whoever_is_cancelled_ends_wherever_it_waits(store: Store) -> None:
    async def read_for_ever() -> None:
        while True:
            await store.wait_log("0", timeout_s=1.0)
            await store.read_log(after="0")

    await queue(store)
    for round_number in range(200):
        reading = asyncio.create_task(read_for_ever())
        await asyncio.sleep(0.0002 * (round_number % 40))
        reading.cancel()
        done, _ = await asyncio.wait([reading], timeout=5)
        assert done
        assert reading.cancelled()


async def test_redis_that_hangs_is_given_up_in_time(own_redis: RedisServer) -> None:
    store = RedisStore(own_redis.url)
    assert not await store.has_keys()
    own_redis.pause()
    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(store.has_keys(), timeout=8)
    own_redis.resume()
    assert not await store.has_keys()
    await store.close()


async def test_after_redis_was_away_nobody_is_taken_for_dead_until_all_could_be_heard(
    own_redis: RedisServer, clock: Clock
) -> None:
    async with with_worker(open_redis(own_redis.url, clock)) as store:
        session = await claimed(store)
        clock.now_s += LEASE_S + 1
        own_redis.stop()
        with pytest.raises(StoreUnavailable):
            await store.claim_session("w2")
        own_redis.start()
        await store.register_worker(WorkerInfo("w2", 100.0, (MODEL,)))
        assert await store.claim_session("w2") is None
        await store.commit(session.id, session.token, events=[start(session.id, "5-0")])
        clock.now_s += LEASE_S
        taken = await store.claim_session("w2")
        assert taken is not None
        assert taken.id == session.id


async def test_a_claim_whose_answer_was_lost_is_answered_again(own_redis: RedisServer, clock: Clock) -> None:
    async with with_worker(open_redis(own_redis.url, clock)) as store:
        first, second = await queue(store), await queue(store)
        own_redis.pause()
        claiming = asyncio.create_task(store.claim_session("w1"))
        with pytest.raises(StoreUnavailable):
            await claiming
        # The command had reached the server, which works it off now.
        own_redis.resume()
        again = [await store.claim_session("w1") for _ in range(3)]
        assert [session and session.id for session in again] == [first.id, second.id, None]


async def test_a_full_redis_is_reported_and_keeps_what_it_has(tmp_path: Path, clock: Clock) -> None:
    with redis_server(tmp_path, "--maxmemory", "4mb", "--maxmemory-policy", "noeviction") as server:
        async with with_worker(open_redis(server.url, clock)) as store:
            session = await claimed(store)

            async def fill_up() -> None:
                for n in range(1, 200):
                    events, update = [start(session.id, f"{n}-0")], SessionUpdate(frames=n)
                    await store.commit(session.id, session.token, events=events, update=update)
                    large = record(cost=0.01).model_copy(update={"name": "x" * 50_000})
                    await store.create_session(large, max_queued=300)

            with pytest.raises(StorageFull):
                await fill_up()
            frames = (await store.get_session(session.id)).frames
            assert await event_ids(store, session.id) == ["0-0", *(f"{n}-0" for n in range(1, frames + 1))]


async def test_events_are_trimmed_by_number_and_by_age(redis_url: str, clock: Clock) -> None:
    async with with_worker(RedisStore(redis_url, events_max=4, events_keep_s=10.0, clock=clock)) as store:
        session = await claimed(store)
        await store.commit(session.id, session.token, events=[start(session.id, f"{s}000-0") for s in range(1, 7)])
        assert await event_ids(store, session.id) == ["3000-0", "4000-0", "5000-0", "6000-0"]
        await store.commit(session.id, session.token, events=[start(session.id, "15000-0")])
        assert await event_ids(store, session.id) == ["5000-0", "6000-0", "15000-0"]
        await store.commit(session.id, session.token, events=[start(session.id, "4000-0")])
        assert await event_ids(store, session.id) == ["5000-0", "6000-0", "15000-0"]


async def test_one_server_at_a_time_delivers_webhooks(store: Store, redis_url: str, clock: Clock) -> None:
    target = WebhookTarget(url="https://example.org/hook", secret="s")
    session = await queue(store, record().model_copy(update={"webhook": target}))
    other = open_redis(redis_url, clock)
    assert [due.session_id for due in await store.due_webhooks(now_unix_s=1.0, limit=8)] == [session.id]
    assert await other.due_webhooks(now_unix_s=1.0, limit=8) == []
    await store.close()
    assert [due.session_id for due in await other.due_webhooks(now_unix_s=1.0, limit=8)] == [session.id]
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
def test_an_address_that_cannot_be_one_is_refused_with_the_name_of_the_setting(url: str) -> None:
    with pytest.raises(StoreUrlInvalid, match="CAKE_STORE_URL"):
        open_store(url)


@pytest.mark.parametrize("kind", ["password", "sentinel", "cluster", "tls"])
async def test_a_session_goes_its_way_whatever_redis_it_is(kind: str, tmp_path: Path) -> None:
    with redis_of(kind, tmp_path) as url:
        store = open_store(url)
        await store.register_worker(WorkerInfo("w1", 100.0, (MODEL,)))
        session = await claimed(store)
        await store.commit(session.id, session.token, events=[start(session.id, "5-0")], checkpoint=CHECKPOINT)
        assert await event_ids(store, session.id) == ["0-0", "5-0"]
        assert await store.load_checkpoint(session.id) == CHECKPOINT
        assert [found.id for found in (await store.list_sessions(limit=5))[0]] == [session.id]
        await store.wait_log("0", timeout_s=1)
        assert len(await store.read_log(after="0")) == 2
        assert (await store.load()).workers == 1
        now = datetime.now(UTC)
        await store.add_ticket("digest", "key", now=now, expires_at=now + timedelta(seconds=30))
        assert await store.redeem_ticket("digest", now=now) == "key"
        assert await store.list_keys() == []
        assert await store.due_webhooks(now_unix_s=1.0, limit=1) == []
        await store.close()
