"""The contract of a store: workers, their leases, and fencing of stale workers."""

import asyncio
from datetime import UTC, datetime

import pytest

from service.errors import OverCapacityError
from service.push.protocol import PushAddress
from service.store.protocols import Store
from service.store.records import WATCHED_S, ScoreRow, SessionUpdate, state_event
from service.store.worker_records import LEASE_S, LeaseLostError, LeaseRenewal, WorkerInfo
from tests.support.store_kit import (
    CHECKPOINT,
    MODEL,
    Clock,
    claimed,
    event_ids,
    queue,
    record,
    start,
)


async def test_without_a_live_worker_there_is_no_capacity(store: Store, clock: Clock) -> None:
    clock.now_s += LEASE_S + 1
    assert await store.workers.live() == []
    with pytest.raises(OverCapacityError):
        await queue(store)


async def test_a_worker_that_waits_is_woken_by_a_new_session_and_by_one_that_is_released(store: Store) -> None:
    async with asyncio.timeout(60):
        for change in (lambda: queue(store), lambda: store.workers.release("w1")):
            waiting = asyncio.create_task(store.workers.until_claimable(3600))
            await asyncio.sleep(0)
            await change()
            await waiting


async def test_realtime_sessions_are_claimed_first_then_the_oldest(store: Store) -> None:
    fast = [(await queue(store)).id for _ in range(2)]
    live = (await queue(store, record(pace="realtime", cost=10))).id
    order = [await store.workers.claim("w1") for _ in range(4)]
    assert [session and session.id for session in order] == [live, *fast, None]


async def test_a_claim_takes_only_what_fits_the_worker(store: Store) -> None:
    live = await queue(store, record(pace="realtime", cost=10))
    fast = await queue(store)
    await queue(store, record(model="another"))
    assert await store.workers.claim("w1", room_steps_per_s=1) is None
    small = await store.workers.claim("w1", room_steps_per_s=5)
    assert small is not None
    assert small.id == fast.id
    assert await store.workers.claim("w1", pace="fast") is None
    large = await store.workers.claim("w1", pace="realtime")
    assert large is not None
    assert large.id == live.id
    assert await store.workers.claim("w1") is None
    assert await store.workers.claim("never registered") is None


async def test_two_workers_never_own_the_same_session(store: Store) -> None:
    await store.workers.register(WorkerInfo("w2", 100.0, (MODEL,)))
    for _ in range(6):
        await queue(store)
    claims = await asyncio.gather(*(store.workers.claim(worker) for worker in ("w1", "w2") * 4))
    owned = [session.id for session in claims if session is not None]
    assert len(owned) == len(set(owned)) == 6


async def test_a_replay_after_a_crash_adds_nothing_twice(store: Store) -> None:
    session = await claimed(store)
    events = [start(session.id, f"{ms}-0") for ms in (100, 200, 300)]
    await store.log.commit(session.id, session.token, events=events[:2], scores=[ScoreRow(0.1, (0, 0))])
    await store.workers.release("w1")
    await store.workers.register(WorkerInfo("w2", 100.0, (MODEL,)))
    resumed = await store.workers.claim("w2")
    assert resumed is not None
    await store.log.commit(
        session.id, resumed.token, events=events, scores=[ScoreRow(0.1, (0, 0)), ScoreRow(0.2, (0, 0))]
    )
    assert await event_ids(store, session.id) == ["0-0", "100-0", "200-0", "300-0"]
    assert [row.pts_s for row in await store.log.read_scores(session.id)] == [0.1, 0.2]


async def test_a_stale_worker_cannot_commit(store: Store, clock: Clock) -> None:
    session = await claimed(store)
    clock.now_s += LEASE_S + 1
    await store.workers.register(WorkerInfo("w2", 100.0, (MODEL,)))
    taken = await store.workers.claim("w2")
    assert taken is not None
    assert taken.token > session.token
    with pytest.raises(LeaseLostError):
        await store.log.commit(
            session.id,
            session.token,
            events=[start(session.id, "1-0")],
            resume_point=CHECKPOINT,
            scores=[ScoreRow(1, (0, 0))],
        )
    assert await event_ids(store, session.id) == ["0-0"]
    assert await store.log.load_resume_point(session.id) is None
    assert await store.log.read_scores(session.id) == []


async def test_a_renewed_lease_holds_and_an_old_one_does_not(store: Store, clock: Clock) -> None:
    await claimed(store)
    await store.workers.register(WorkerInfo("w2", 100.0, (MODEL,)))
    for _ in range(4):
        clock.now_s += LEASE_S / 2
        await store.workers.renew("w1")
        await store.workers.renew("w2")
        assert await store.workers.claim("w2") is None
    clock.now_s += LEASE_S + 1
    assert await store.workers.claim("w2") is not None


async def test_a_lease_from_before_a_reboot_does_not_hold(store: Store, clock: Clock) -> None:
    await claimed(store)
    clock.now_s = 5.0
    await store.workers.register(WorkerInfo("w2", 100.0, (MODEL,)))
    assert await store.workers.claim("w2") is not None


async def test_a_released_worker_loses_its_sessions_immediately(store: Store) -> None:
    session = await claimed(store)
    await store.workers.release("w1")
    with pytest.raises(LeaseLostError):
        await store.log.commit(session.id, session.token, events=[start(session.id, "1-0")])
    with pytest.raises(LeaseLostError):
        await store.workers.renew("w1")
    assert await store.workers.claim("w1") is None
    await store.workers.register(WorkerInfo("w2", 100.0, (MODEL,)))
    again = await store.workers.claim("w2")
    assert again is not None
    assert again.id == session.id


async def test_a_stop_reaches_the_owner_and_ends_the_session(store: Store) -> None:
    session = await claimed(store)
    assert (await store.workers.renew("w1")).stop_requested == set()
    assert (await store.sessions.request_stop(session.id)).state == "queued"
    assert (await store.workers.renew("w1")).stop_requested == {session.id}
    now = datetime.now(UTC)
    stopped = state_event(await store.sessions.get(session.id), "stopped", time=now)
    await store.log.commit(
        session.id, session.token, events=[stopped], update=SessionUpdate(state="stopped", ended_at=now)
    )
    assert (await store.workers.renew("w1")).stop_requested == set()
    assert await store.log.load_resume_point(session.id) is None
    with pytest.raises(LeaseLostError):
        await store.log.commit(session.id, session.token)


async def test_a_session_without_a_live_owner_stops_immediately(store: Store, clock: Clock) -> None:
    waiting = await queue(store)
    assert (await store.sessions.request_stop(waiting.id)).state == "stopped"
    orphan = await claimed(store)
    clock.now_s += LEASE_S + 1
    assert (await store.sessions.request_stop(orphan.id)).state == "stopped"
    with pytest.raises(LeaseLostError):
        await store.log.commit(orphan.id, orphan.token, events=[start(orphan.id, "1-0")])
    assert await event_ids(store, orphan.id) == ["0-0", "0-1"]
    assert (await store.sessions.request_stop(orphan.id)).ended_at is not None


async def test_the_load_counts_live_workers_and_sessions(store: Store) -> None:
    await queue(store, record(cost=7))
    await store.sessions.request_stop((await queue(store)).id)
    load = await store.workers.load()
    assert (load.workers, load.capacity_steps_per_s, load.reserved_steps_per_s) == (1, 100.0, 7.0)
    assert load.sessions == {"queued": 1, "stopped": 1}
    assert await store.workers.live() == [WorkerInfo("w1", 100.0, (MODEL,))]


async def test_the_worker_of_a_session_is_found_while_it_is_alive(store: Store, clock: Clock) -> None:
    address = PushAddress("127.0.0.1", 4321, "key")
    await store.workers.register(WorkerInfo("w2", 100.0, (MODEL,), address))
    session = await queue(store)
    assert await store.workers.owner_of(session.id) is None
    assert await store.workers.claim("w2") is not None
    found = await store.workers.owner_of(session.id)
    assert found is not None
    assert (found.id, found.push) == ("w2", address)
    assert "key" not in repr(found)
    clock.now_s += LEASE_S + 1
    assert await store.workers.owner_of(session.id) is None


async def test_after_the_clock_was_set_back_only_workers_that_renew_are_alive(store: Store, clock: Clock) -> None:
    await store.workers.register(WorkerInfo("w2", 100.0, (MODEL,)))
    session = await queue(store)
    assert await store.workers.claim("w1") is not None
    clock.now_s -= 3600
    assert await store.workers.live() == []
    await store.workers.renew("w2")
    assert [worker.id for worker in await store.workers.live()] == ["w2"]
    taken = await store.workers.claim("w2")
    assert taken is not None
    assert taken.id == session.id


async def test_a_renewal_names_the_sessions_with_watchers(store: Store, clock: Clock) -> None:
    session = await claimed(store)
    assert (await store.workers.renew("w1")).watched == set()
    await store.sessions.watch(session.id)
    clock.now_s += WATCHED_S - 1
    await store.workers.register(WorkerInfo("w2", 100.0, (MODEL,)))
    assert (await store.workers.renew("w1")).watched == {session.id}
    assert (await store.workers.renew("w2")).watched == set()
    await store.sessions.watch(session.id)
    clock.now_s += WATCHED_S - 1
    assert (await store.workers.renew("w1")).watched == {session.id}
    clock.now_s += 2
    assert (await store.workers.renew("w1")).watched == set()


async def test_ended_and_unknown_sessions_have_no_watchers(store: Store) -> None:
    session = await claimed(store)
    await store.sessions.watch(session.id)
    now = datetime.now(UTC)
    stopped = state_event(await store.sessions.get(session.id), "stopped", time=now)
    await store.log.commit(
        session.id, session.token, events=[stopped], update=SessionUpdate(state="stopped", ended_at=now)
    )
    await store.sessions.watch(session.id)
    await store.sessions.watch("unknown")
    assert await store.workers.renew("w1") == LeaseRenewal(set(), set())
