"""The contract of a store: sessions, their events, scores and the common log."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from store_kit import (
    CHECKPOINT,
    claimed,
    event_ids,
    queue,
    record,
    start,
)

from service.errors import IdempotencyConflict, InvalidRequest, NotFound, OverCapacity
from service.schemas import (
    SessionStateEvent,
)
from service.store.base import ScoreRow, SessionUpdate, Store
from service.store.checkpoint import NOTHING


async def test_a_created_session_is_queued_and_has_its_first_event(store: Store) -> None:
    created = await queue(store)
    assert await store.get_session(created.id) == created
    (event,) = await store.read_events(created.id)
    assert isinstance(event, SessionStateEvent)
    assert (event.id, event.state, created.last_event_id) == ("0-0", "queued", "0-0")


async def test_unknown_sessions_are_not_found(store: Store) -> None:
    for call in (
        store.get_session("x"),
        store.request_stop("x"),
        store.delete_session("x"),
        store.read_events("x"),
        store.read_scores("x"),
        store.commit("x", 1),
    ):
        with pytest.raises(NotFound):
            await call


async def test_the_same_key_and_body_give_the_same_session(store: Store) -> None:
    first = await store.create_session(record(), max_queued=10, idempotency_key="k", digest="d")
    again = await store.create_session(record(), max_queued=10, idempotency_key="k", digest="d")
    assert again.id == first.id
    with pytest.raises(IdempotencyConflict):
        await store.create_session(record(), max_queued=10, idempotency_key="k", digest="other")
    assert len((await store.list_sessions(limit=10))[0]) == 1


async def test_sessions_without_a_key_are_all_different(store: Store) -> None:
    assert (await queue(store)).id != (await queue(store)).id
    assert len((await store.list_sessions(limit=10))[0]) == 2


async def test_a_session_that_exceeds_the_capacity_is_refused_until_another_has_ended(store: Store) -> None:
    big = await queue(store, record(cost=95))
    with pytest.raises(OverCapacity) as refused:
        await queue(store, record(cost=10))
    assert refused.value.retry_after_s is not None
    assert refused.value.retry_after_s > 0
    await store.request_stop(big.id)
    await queue(store, record(cost=10))


async def test_sessions_are_refused_when_too_many_wait(store: Store) -> None:
    await store.create_session(record(), max_queued=1)
    with pytest.raises(OverCapacity):
        await store.create_session(record(), max_queued=1)


async def test_pages_of_sessions_go_from_new_to_old(store: Store) -> None:
    created = [(await queue(store)).id for _ in range(5)]
    await store.request_stop(created[0])
    first, cursor = await store.list_sessions(limit=3)
    second, end = await store.list_sessions(limit=3, before=cursor)
    assert [session.id for session in first + second] == created[::-1]
    assert end is None
    stopped, _ = await store.list_sessions(limit=3, state="stopped")
    assert [session.id for session in stopped] == [created[0]]


async def test_what_is_committed_together_is_read_back(store: Store) -> None:
    session = await claimed(store)
    await store.commit(
        session.id,
        session.token,
        events=[start(session.id, "1500-0"), start(session.id, "1500-1")],
        checkpoint=CHECKPOINT,
        update=SessionUpdate(state="running", position_s=1.5, frames=15, warnings=("w",)),
        scores=[ScoreRow(1.4, (0.25, 0.5)), ScoreRow(1.5, (0.75, 1.0))],
    )
    assert await event_ids(store, session.id) == ["0-0", "1500-0", "1500-1"]
    assert await event_ids(store, session.id, after="1500-0") == ["1500-1"]
    assert await store.load_checkpoint(session.id) == CHECKPOINT
    now = await store.get_session(session.id)
    assert (now.state, now.position_s, now.frames, now.warnings) == ("running", 1.5, 15, ("w",))
    assert now.last_event_id == "1500-1"
    assert now.source == session.source
    assert await store.read_scores(session.id) == [ScoreRow(1.4, [0.25, 0.5]), ScoreRow(1.5, [0.75, 1.0])]
    assert await store.read_scores(session.id, after_s=1.4) == [ScoreRow(1.5, [0.75, 1.0])]


async def test_a_checkpoint_without_the_detectors_state_leaves_the_one_before(store: Store) -> None:
    session = await claimed(store)
    light = replace(CHECKPOINT, position_s=2.5, frames=25, detector=None)
    await store.commit(session.id, session.token, checkpoint=light)
    assert await store.load_checkpoint(session.id) == light
    await store.commit(session.id, session.token, checkpoint=CHECKPOINT)
    await store.commit(session.id, session.token, checkpoint=light)
    assert await store.load_checkpoint(session.id) == replace(light, detector=CHECKPOINT.detector)
    await store.commit(session.id, session.token, checkpoint=replace(light, detector=NOTHING))
    assert await store.load_checkpoint(session.id) == replace(light, detector=NOTHING)


async def test_an_end_must_come_with_its_event(store: Store) -> None:
    session = await claimed(store)
    with pytest.raises(ValueError, match="completed"):
        await store.commit(session.id, session.token, update=SessionUpdate(state="completed"))
    assert (await store.get_session(session.id)).state == "queued"


async def test_only_ended_sessions_can_be_deleted_and_take_everything_with_them(store: Store) -> None:
    session = await claimed(store)
    await store.commit(session.id, session.token, events=[start(session.id, "5-0")], checkpoint=CHECKPOINT)
    with pytest.raises(InvalidRequest):
        await store.delete_session(session.id)
    await store.release_worker("w1")
    await store.request_stop(session.id)
    await store.delete_session(session.id)
    with pytest.raises(NotFound):
        await store.get_session(session.id)
    assert await store.read_log(after="0") == []


async def test_sessions_that_ended_before_a_moment_are_found(store: Store) -> None:
    first, second, running = await queue(store), await queue(store), await queue(store)
    for session in (first, second):
        await store.request_stop(session.id)
    later, earlier = (datetime.now(UTC) + timedelta(seconds=sign * 5) for sign in (1, -1))
    assert await store.ended_before(earlier, limit=10) == []
    assert set(await store.ended_before(later, limit=10)) == {first.id, second.id}
    assert len(await store.ended_before(later, limit=1)) == 1
    await store.delete_session(first.id)
    assert await store.ended_before(later, limit=10) == [second.id]
    assert (await store.get_session(running.id)).state == "queued"


async def test_the_common_log_holds_all_sessions_in_order_and_its_cursor_only_grows(store: Store) -> None:
    first, second = await claimed(store), await claimed(store)
    await store.commit(second.id, second.token, events=[start(second.id, "9-0")])
    await store.commit(first.id, first.token, events=[start(first.id, "3-0")])
    entries = await store.read_log(after="0")
    assert [(entry.event.session_id, entry.event.id) for entry in entries] == [
        (first.id, "0-0"),
        (second.id, "0-0"),
        (second.id, "9-0"),
        (first.id, "3-0"),
    ]
    assert await store.read_log(after=entries[1].cursor) == entries[2:]
    assert await store.log_end() == entries[-1].cursor
    await store.release_worker("w1")
    for session in (first, second):
        await store.request_stop(session.id)
        await store.delete_session(session.id)
    assert int(await store.log_end()) > int(entries[-1].cursor)


async def test_waiting_for_the_log_ends_with_a_commit_or_in_time(store: Store) -> None:
    await store.wait_log(await store.log_end(), timeout_s=0.03)
    waiting = asyncio.create_task(store.wait_log(await store.log_end(), timeout_s=30))
    await asyncio.sleep(0)
    assert not waiting.done()
    await queue(store)
    await asyncio.wait_for(waiting, timeout=5)


async def test_scores_are_kept_for_a_bounded_time(store: Store) -> None:
    session = await claimed(store)
    await store.commit(session.id, session.token, scores=[ScoreRow(float(s), (0, 0)) for s in range(100)])
    await store.commit(session.id, session.token, scores=[ScoreRow(150.0, (0, 0))])
    rows = await store.read_scores(session.id)
    assert (rows[0].pts_s, rows[-1].pts_s) == (50.0, 150.0)
    assert len(await store.read_scores(session.id, limit=7)) == 7
