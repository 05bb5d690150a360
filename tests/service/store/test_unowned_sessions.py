"""Sessions that have lost their worker are queued again, and continue where they were."""

from datetime import UTC, datetime

import pytest

from service.schemas import SessionState
from service.store.protocols import Store
from service.store.records import SessionRecord, SessionUpdate, state_event
from service.store.worker_records import LEASE_S, LeaseLostError, WorkerInfo
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


async def enter(store: Store, session: SessionRecord, state: SessionState, *, position_s: float) -> None:
    event = state_event(session.model_copy(update={"position_s": position_s}), state, time=datetime.now(UTC))
    update = SessionUpdate(state=state, position_s=position_s, claimed_at_position_s=0.0, worker_deaths=1)
    await store.log.commit(session.id, session.token, events=[event], resume_point=CHECKPOINT, update=update)


async def test_only_sessions_that_begun_and_have_no_live_worker_are_unowned(store: Store, clock: Clock) -> None:
    died = await claimed(store)
    await enter(store, died, "running", position_s=1.5)
    waiting = await queue(store, record(model="another"))
    assert await store.sessions.unowned() == []
    clock.now_s += LEASE_S + 1
    assert await store.sessions.unowned() == [died.id]
    await store.workers.register(WorkerInfo("w2", 100.0, (MODEL,)))
    assert (await store.workers.claim("w2")) is not None
    assert await store.sessions.unowned() == []
    await store.workers.release("w2")
    assert await store.sessions.unowned() == [died.id]
    assert (await store.sessions.request_stop(waiting.id)).state == "stopped"


@pytest.mark.parametrize("is_released", [False, True], ids=["died", "released"])
async def test_an_unowned_session_is_queued_again_and_resumes_where_it_was(
    store: Store, clock: Clock, is_released: bool
) -> None:
    session = await claimed(store)
    await enter(store, session, "running", position_s=1.5)
    assert not await store.sessions.requeue(session.id, "why"), "its worker is alive"
    if is_released:
        await store.workers.release("w1")
    else:
        clock.now_s += LEASE_S + 1
    assert await store.sessions.requeue(session.id, "No worker has it.")
    queued = await store.sessions.get(session.id)
    assert (queued.state, queued.detail, queued.position_s) == ("queued", "No worker has it.", 1.5)
    assert (queued.worker_deaths, queued.claimed_at_position_s) == (1, 0.0)
    assert await store.sessions.unowned() == []
    assert (await store.workers.load()).sessions == {"queued": 1}
    assert await event_ids(store, session.id) == ["0-0", "1500-0", "1500-1"]
    if not is_released:
        # The worker was only stopped for a while.
        await store.workers.renew("w1")
    with pytest.raises(LeaseLostError):
        await store.log.commit(session.id, session.token, events=[start(session.id, "1600-0")])
    await store.workers.register(WorkerInfo("w2", 100.0, (MODEL,)))
    again = await store.workers.claim("w2")
    assert again is not None
    assert again.id == session.id
    assert await store.log.load_resume_point(session.id) == CHECKPOINT
    await store.log.commit(session.id, again.token, events=[start(session.id, "1600-0")])


async def test_the_death_of_a_worker_is_not_held_against_a_session_whose_source_was_away(store: Store) -> None:
    session = await claimed(store)
    await enter(store, session, "reconnecting", position_s=1.5)
    await store.workers.release("w1")
    assert await store.sessions.requeue(session.id, "why")
    assert (await store.sessions.get(session.id)).claimed_at_position_s is None


async def test_only_sessions_that_have_not_ended_are_queued_again(store: Store) -> None:
    session = await queue(store)
    assert (await store.sessions.request_stop(session.id)).state == "stopped"
    assert not await store.sessions.requeue(session.id, "why")
    assert (await store.sessions.get(session.id)).state == "stopped"


async def test_a_session_that_waits_may_be_told_why_and_is_still_claimed_in_turn(store: Store) -> None:
    first, second = await queue(store), await queue(store)
    assert await store.sessions.requeue(first.id, "why")
    assert (await store.sessions.get(first.id)).detail == "why"
    order = [await store.workers.claim("w1") for _ in range(3)]
    assert [session and session.id for session in order] == [first.id, second.id, None]
