"""The Redis store while Redis is unreachable, hangs, is full, or closes connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from service.errors import StorageFullError, StoreUnavailableError
from service.schemas import SessionState
from service.store.protocols import Store
from service.store.records import SessionRecord, SessionUpdate, state_event
from service.store.redis.replies import translated
from service.store.redis.store import open_redis_store
from service.store.worker_records import LEASE_S, WorkerInfo
from tests.support.redis_server import RedisServer, redis_server
from tests.support.resetting_proxy import resetting_proxy
from tests.support.store_kit import (
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


async def test_connections_that_were_reset_are_replaced(own_redis: RedisServer) -> None:
    async with resetting_proxy(own_redis.port) as proxy:
        store = open_redis_store(f"redis://127.0.0.1:{proxy.port}")
        await store.keys.exist()
        await proxy.reset()
        assert not await store.keys.exist()
        await store.close()


async def test_a_connection_lost_before_a_command_is_reported_as_unreachable(own_redis: RedisServer) -> None:
    async with resetting_proxy(own_redis.port) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        await proxy.reset()
        with suppress(ConnectionError):
            await reader.read()

        async def command() -> None:
            writer.write(b"PING\r\n")
            await writer.drain()

        with pytest.raises(StoreUnavailableError, match="CAKE_STORE_URL"):
            await translated(command())


async def test_a_redis_outage_is_reported_and_ends_when_redis_is_back(own_redis: RedisServer) -> None:
    store = open_redis_store(own_redis.url)
    await store.workers.register(WorkerInfo("w1", 100.0, (MODEL,)))
    session = await claimed(store)
    own_redis.stop()
    for call in (
        store.sessions.get(session.id),
        store.log.commit(session.id, session.token),
        store.workers.claim("w1"),
        store.workers.renew("w1"),
        store.keys.exist(),
        store.log.wait("0", timeout_s=5),
    ):
        with pytest.raises(StoreUnavailableError, match="CAKE_STORE_URL"):
            await asyncio.wait_for(call, timeout=60)
    own_redis.start()
    await store.log.commit(session.id, session.token, events=[start(session.id, "5-0")])
    assert await event_ids(store, session.id) == ["0-0", "5-0"]
    await store.close()


async def test_connections_that_redis_closed_are_replaced_before_their_next_command(own_redis: RedisServer) -> None:
    store = open_redis_store(own_redis.url)
    await asyncio.gather(*(store.keys.exist() for _ in range(8)))
    own_redis.stop()
    with pytest.raises(StoreUnavailableError):
        await store.keys.exist()
    own_redis.start()
    assert await asyncio.gather(*(store.keys.exist() for _ in range(8))) == [False] * 8
    await store.close()


async def test_a_hanging_redis_is_reported_in_time(own_redis: RedisServer) -> None:
    store = open_redis_store(own_redis.url)
    assert not await store.keys.exist()
    own_redis.pause()
    with pytest.raises(StoreUnavailableError):
        await asyncio.wait_for(store.keys.exist(), timeout=60)
    own_redis.resume()
    assert not await store.keys.exist()
    await store.close()


async def test_after_an_outage_workers_have_time_to_renew_before_they_count_as_dead(
    own_redis: RedisServer, clock: Clock
) -> None:
    async with with_worker(open_redis(own_redis.url, clock)) as store:
        session = await claimed(store)
        clock.now_s += LEASE_S + 1
        own_redis.stop()
        with pytest.raises(StoreUnavailableError):
            await store.workers.claim("w2")
        own_redis.start()
        await store.workers.register(WorkerInfo("w2", 100.0, (MODEL,)))
        assert await store.workers.claim("w2") is None
        await store.log.commit(session.id, session.token, events=[start(session.id, "5-0")])
        clock.now_s += LEASE_S
        taken = await store.workers.claim("w2")
        assert taken is not None
        assert taken.id == session.id


async def test_a_claim_whose_reply_was_lost_can_be_repeated(own_redis: RedisServer, clock: Clock) -> None:
    async with with_worker(open_redis(own_redis.url, clock)) as store:
        first, second = await queue(store), await queue(store)
        own_redis.pause()
        claiming = asyncio.create_task(store.workers.claim("w1"))
        with pytest.raises(StoreUnavailableError):
            await claiming
        # The command had reached the server, which executes it now.
        own_redis.resume()
        again = [await store.workers.claim("w1") for _ in range(3)]
        assert [session and session.id for session in again] == [first.id, second.id, None]


async def test_a_full_redis_is_reported_and_loses_nothing(tmp_path: Path, clock: Clock) -> None:
    with redis_server(tmp_path, "--maxmemory", "4mb", "--maxmemory-policy", "noeviction") as server:
        async with with_worker(open_redis(server.url, clock)) as store:
            session = await claimed(store)

            async def fill_up() -> None:
                for n in range(1, 200):
                    events, update = [start(session.id, f"{n}-0")], SessionUpdate(frames=n)
                    await store.log.commit(session.id, session.token, events=events, update=update)
                    large = record(cost=0.01).model_copy(update={"name": "x" * 50_000})
                    await store.sessions.create(large, max_queued=300)

            with pytest.raises(StorageFullError):
                await fill_up()
            frames = (await store.sessions.get(session.id)).frames
            assert await event_ids(store, session.id) == ["0-0", *(f"{n}-0" for n in range(1, frames + 1))]


async def test_sessions_are_stopped_ended_and_deleted_in_a_full_redis(tmp_path: Path, clock: Clock) -> None:
    with redis_server(tmp_path) as server:
        async with with_worker(open_redis(server.url, clock)) as store:
            running, ending, waiting = await claimed(store), await claimed(store), await queue(store)
            with server.client() as client:
                client.config_set("maxmemory", "1")
            with pytest.raises(StorageFullError):
                await queue(store)
            await store.sessions.request_stop(running.id)
            assert (await store.workers.renew("w1")).stop_requested == {running.id}
            ends: tuple[tuple[SessionRecord, SessionState], ...] = ((running, "stopped"), (ending, "completed"))
            for session, state in ends:
                event = state_event(session, state, time=datetime.now(UTC))
                update = SessionUpdate(state=event.state, ended_at=event.time)
                await store.log.commit(session.id, session.token, events=[event], update=update)
            assert (await store.sessions.request_stop(waiting.id)).state == "stopped"
            for session_id in (running.id, ending.id, waiting.id):
                await store.sessions.delete(session_id)
            assert await store.sessions.existing([running.id, ending.id, waiting.id]) == set()
