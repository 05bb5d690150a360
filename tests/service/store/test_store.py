"""The contract of a store: sessions, their events, scores and the common log."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service.access.sight import Sight
from service.errors import (
    IdempotencyConflictError,
    InvalidRequestError,
    NotFoundError,
    OverCapacityError,
    SessionEndedError,
)
from service.event_filter import EventFilter
from service.event_schemas import SessionStateEvent
from service.schemas import Rule
from service.store.protocols import Store
from service.store.records import NO_SNAPSHOT, ScoreRow, SessionUpdate, SettingsChange, state_event
from tests.support.store_kit import (
    CHECKPOINT,
    claimed,
    event_ids,
    queue,
    record,
    start,
)


async def test_a_created_session_is_queued_and_has_its_first_event(store: Store) -> None:
    created = await queue(store)
    assert await store.sessions.get(created.id) == created
    (event,) = await store.log.read_events(created.id)
    assert isinstance(event, SessionStateEvent)
    assert (event.id, event.state, created.last_event_id) == ("0-0", "queued", "0-0")


async def test_unknown_sessions_are_not_found(store: Store) -> None:
    for call in (
        store.sessions.get("x"),
        store.sessions.request_stop("x"),
        store.sessions.delete("x"),
        store.log.read_events("x"),
        store.log.read_scores("x"),
        store.log.commit("x", 1),
    ):
        with pytest.raises(NotFoundError):
            await call


async def test_the_same_key_and_body_give_the_same_session(store: Store) -> None:
    first = await store.sessions.create(record(), max_queued=10, idempotency_key="k", digest="d")
    again = await store.sessions.create(record(), max_queued=10, idempotency_key="k", digest="d")
    assert again.id == first.id
    with pytest.raises(IdempotencyConflictError):
        await store.sessions.create(record(), max_queued=10, idempotency_key="k", digest="other")
    assert len((await store.sessions.page(limit=10))[0]) == 1


async def test_sessions_without_a_key_are_all_different(store: Store) -> None:
    assert (await queue(store)).id != (await queue(store)).id
    assert len((await store.sessions.page(limit=10))[0]) == 2


async def test_a_session_that_exceeds_the_capacity_is_rejected_until_another_has_ended(store: Store) -> None:
    big = await queue(store, record(cost=95))
    with pytest.raises(OverCapacityError) as refused:
        await queue(store, record(cost=10))
    assert refused.value.retry_after_s is not None
    assert refused.value.retry_after_s > 0
    await store.sessions.request_stop(big.id)
    await queue(store, record(cost=10))


async def test_sessions_are_rejected_when_the_queue_is_full(store: Store) -> None:
    await store.sessions.create(record(), max_queued=1)
    with pytest.raises(OverCapacityError):
        await store.sessions.create(record(), max_queued=1)


async def test_pages_of_sessions_go_from_new_to_old(store: Store) -> None:
    created = [(await queue(store)).id for _ in range(5)]
    await store.sessions.request_stop(created[0])
    first, cursor = await store.sessions.page(limit=3)
    second, end = await store.sessions.page(limit=3, before=cursor)
    assert [session.id for session in first + second] == created[::-1]
    assert end is None
    stopped, _ = await store.sessions.page(limit=3, state="stopped")
    assert [session.id for session in stopped] == [created[0]]


async def test_pages_of_filtered_sessions_are_full(store: Store) -> None:
    created = []
    for number in range(9):
        updated = {"name": f"camera{number % 3}", "metadata": {"site": "north" if number < 5 else "south"}}
        created.append((await queue(store, record().model_copy(update=updated))).id)
    wanted = EventFilter(names=frozenset({"camera0", "camera1"}), metadata={"site": frozenset({"north"})})
    first, cursor = await store.sessions.page(limit=3, wanted=wanted)
    second, end = await store.sessions.page(limit=3, before=cursor, wanted=wanted)
    assert [session.id for session in first] == [created[number] for number in (4, 3, 1)]
    assert ([session.id for session in second], end) == ([created[0]], None)
    await store.sessions.change(created[8], SettingsChange(name="camera1", metadata={"site": "north"}))
    assert [session.id for session in (await store.sessions.page(limit=1, wanted=wanted))[0]] == [created[8]]


async def test_live_sessions_are_listed_oldest_first_in_any_state(store: Store) -> None:
    created = [(await queue(store)).id for _ in range(4)]
    running = await store.workers.claim("w1")
    assert running is not None
    event = state_event(running, "running", time=datetime.now(UTC))
    await store.log.commit(running.id, running.token, events=[event], update=SessionUpdate(state="running"))
    await store.sessions.request_stop(created[1])
    live = await store.sessions.live(limit=10)
    assert [(session.id, session.state) for session in live] == [
        (created[0], "running"),
        (created[2], "queued"),
        (created[3], "queued"),
    ]
    assert await store.sessions.live(limit=2) == live[:2]


async def test_the_log_is_read_backwards_from_its_end_or_a_cursor(store: Store) -> None:
    session = await claimed(store)
    ids = ["0-0", *(f"{n}-0" for n in range(100, 104))]
    await store.log.commit(session.id, session.token, events=[start(session.id, event_id) for event_id in ids[1:]])
    newest = await store.log.read_back(limit=2)
    assert [entry.event.id for entry in newest.entries] == ids[:2:-1]
    assert newest.cursor == newest.entries[-1].cursor
    rest = await store.log.read_back(before=newest.cursor, limit=10)
    assert [entry.event.id for entry in rest.entries] == ids[2::-1]
    assert (await store.log.read_back(sight=Sight(owner="somebody"))).entries == []


async def test_changed_settings_reach_the_worker_until_it_has_published_them(store: Store) -> None:
    session = await claimed(store)
    assert (await store.workers.renew("w1")).changed == set()
    rules = {"jump": Rule(enter=0.9, leave=0.1)}
    await store.sessions.change(session.id, SettingsChange(labels=("jump",), rules=rules))
    changed = await store.sessions.change(session.id, SettingsChange(name="gate", metadata={"site": "north"}))
    assert (changed.labels, changed.score_labels, changed.rules) == (("jump",), ("kick", "jump"), rules)
    assert (changed.name, changed.metadata, changed.revision) == ("gate", {"site": "north"}, 2)
    assert await store.sessions.get(session.id) == changed
    assert (await store.workers.renew("w1")).changed == {session.id}
    for applied in (1, 2):
        await store.log.commit(session.id, session.token, update=SessionUpdate(applied_revision=applied, frames=3))
        assert (await store.workers.renew("w1")).changed == ({session.id} if applied == 1 else set())
    assert (await store.sessions.get(session.id)).name == "gate"


async def test_an_ended_session_can_be_renamed_but_decides_nothing_more(store: Store) -> None:
    session = await queue(store)
    await store.sessions.request_stop(session.id)
    assert (await store.sessions.change(session.id, SettingsChange(name="gate"))).name == "gate"
    with pytest.raises(SessionEndedError):
        await store.sessions.change(session.id, SettingsChange(rules={}))
    with pytest.raises(NotFoundError):
        await store.sessions.change("x", SettingsChange(name="gate"))
    assert await event_ids(store, session.id) == ["0-0", "0-1"]


async def test_a_commit_is_read_back_completely(store: Store) -> None:
    session = await claimed(store)
    await store.log.commit(
        session.id,
        session.token,
        events=[start(session.id, "1500-0"), start(session.id, "1500-1")],
        resume_point=CHECKPOINT,
        update=SessionUpdate(state="running", position_s=1.5, frames=15, warnings=("w",)),
        scores=[ScoreRow(1.4, (0.25, 0.5)), ScoreRow(1.5, (0.75, 1.0))],
    )
    assert await event_ids(store, session.id) == ["0-0", "1500-0", "1500-1"]
    assert await event_ids(store, session.id, after="1500-0") == ["1500-1"]
    assert await store.log.load_resume_point(session.id) == CHECKPOINT
    now = await store.sessions.get(session.id)
    assert (now.state, now.position_s, now.frames, now.warnings) == ("running", 1.5, 15, ("w",))
    assert now.last_event_id == "1500-1"
    assert now.source == session.source
    assert await store.log.read_scores(session.id) == [ScoreRow(1.4, [0.25, 0.5]), ScoreRow(1.5, [0.75, 1.0])]
    assert await store.log.read_scores(session.id, after_s=1.4) == [ScoreRow(1.5, [0.75, 1.0])]


async def test_a_resume_point_without_a_snapshot_keeps_the_earlier_snapshot(store: Store) -> None:
    session = await claimed(store)
    light = replace(CHECKPOINT, position_s=2.5, frames=25, detector=None)
    await store.log.commit(session.id, session.token, resume_point=light)
    assert await store.log.load_resume_point(session.id) == light
    await store.log.commit(session.id, session.token, resume_point=CHECKPOINT)
    await store.log.commit(session.id, session.token, resume_point=light)
    assert await store.log.load_resume_point(session.id) == replace(light, detector=CHECKPOINT.detector)
    await store.log.commit(session.id, session.token, resume_point=replace(light, detector=NO_SNAPSHOT))
    assert await store.log.load_resume_point(session.id) == replace(light, detector=NO_SNAPSHOT)


async def test_an_end_must_come_with_its_event(store: Store) -> None:
    session = await claimed(store)
    with pytest.raises(ValueError, match="completed"):
        await store.log.commit(session.id, session.token, update=SessionUpdate(state="completed"))
    assert (await store.sessions.get(session.id)).state == "queued"


async def test_only_ended_sessions_can_be_deleted_and_take_everything_with_them(store: Store) -> None:
    session = await claimed(store)
    await store.log.commit(session.id, session.token, events=[start(session.id, "5-0")], resume_point=CHECKPOINT)
    with pytest.raises(InvalidRequestError):
        await store.sessions.delete(session.id)
    await store.workers.release("w1")
    await store.sessions.request_stop(session.id)
    await store.sessions.delete(session.id)
    with pytest.raises(NotFoundError):
        await store.sessions.get(session.id)
    assert (await store.log.read(after="0")).entries == []


async def test_sessions_that_ended_before_a_moment_are_found(store: Store) -> None:
    first, second, running = await queue(store), await queue(store), await queue(store)
    for session in (first, second):
        await store.sessions.request_stop(session.id)
    later, earlier = (datetime.now(UTC) + timedelta(seconds=sign * 5) for sign in (1, -1))
    assert await store.sessions.ended_before(earlier, limit=10) == []
    assert set(await store.sessions.ended_before(later, limit=10)) == {first.id, second.id}
    assert len(await store.sessions.ended_before(later, limit=1)) == 1
    await store.sessions.delete(first.id)
    assert await store.sessions.ended_before(later, limit=10) == [second.id]
    assert (await store.sessions.get(running.id)).state == "queued"


async def test_the_common_log_holds_all_sessions_in_order_and_its_cursor_only_grows(store: Store) -> None:
    first, second = await claimed(store), await claimed(store)
    await store.log.commit(second.id, second.token, events=[start(second.id, "9-0")])
    await store.log.commit(first.id, first.token, events=[start(first.id, "3-0")])
    entries = (await store.log.read(after="0")).entries
    assert [(entry.event.session_id, entry.event.id) for entry in entries] == [
        (first.id, "0-0"),
        (second.id, "0-0"),
        (second.id, "9-0"),
        (first.id, "3-0"),
    ]
    assert (await store.log.read(after=entries[1].cursor)).entries == entries[2:]
    assert await store.log.end() == entries[-1].cursor
    await store.workers.release("w1")
    for session in (first, second):
        await store.sessions.request_stop(session.id)
        await store.sessions.delete(session.id)
    assert int(await store.log.end()) > int(entries[-1].cursor)


async def test_waiting_for_the_log_ends_with_a_commit_or_in_time(store: Store) -> None:
    await store.log.wait(await store.log.end(), timeout_s=0.03)
    waiting = asyncio.create_task(store.log.wait(await store.log.end(), timeout_s=600))
    await asyncio.sleep(0)
    assert not waiting.done()
    await queue(store)
    await asyncio.wait_for(waiting, timeout=60)


async def test_scores_are_kept_for_a_bounded_time(store: Store) -> None:
    session = await claimed(store)
    await store.log.commit(session.id, session.token, scores=[ScoreRow(float(s), (0, 0)) for s in range(100)])
    await store.log.commit(session.id, session.token, scores=[ScoreRow(150.0, (0, 0))])
    rows = await store.log.read_scores(session.id)
    assert (rows[0].pts_s, rows[-1].pts_s) == (50.0, 150.0)
    assert len(await store.log.read_scores(session.id, limit=7)) == 7


@pytest.mark.parametrize("after_s", [-1.0, -1e303, 1e30, 1e303])
async def test_scores_after_any_time_can_be_read(store: Store, after_s: float) -> None:
    session = await claimed(store)
    assert await store.log.read_scores(session.id, after_s=after_s) == []


async def test_nothing_comes_before_the_first_cursor(store: Store) -> None:
    await claimed(store)
    assert (await store.log.read_back(before="0")).entries == []
