"""The contract of a store. A second backend joins by adding its factory to STORES."""

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from service.errors import IdempotencyConflict, InvalidRequest, NotFound, OverCapacity, StorageFull, StoreUnavailable
from service.schemas import (
    ActionStartEvent,
    Latency,
    ModelInfo,
    SessionStateEvent,
    UrlSource,
    event_key,
    next_event_id,
)
from service.store import open_store
from service.store.base import (
    LEASE_S,
    Checkpoint,
    LeaseLost,
    ScoreRow,
    SessionRecord,
    SessionUpdate,
    Store,
    WorkerInfo,
    state_event,
)
from service.store.sqlite import SqliteStore

MODEL = ModelInfo(name="mocap", version="abc", labels=["kick", "jump"], sample_hz=10, image_size=96)
CHECKPOINT = Checkpoint(position_s=1.5, detector=b"\x00state", starts={"kick": {"open": True}}, frames=15)
ids = itertools.count()


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def open_sqlite(folder: Path, clock: Clock) -> Store:
    return SqliteStore(folder / "cake.db", scores_keep_s=100, clock=clock)


STORES: dict[str, Callable[[Path, Clock], Store]] = {"sqlite": open_sqlite}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    opened = STORES[request.param](tmp_path, clock)
    await opened.register_worker(WorkerInfo("w1", 100.0, (MODEL,)))
    yield opened
    await opened.close()


def record(*, cost: float = 2.0, pace: str = "fast", model: str = "mocap") -> SessionRecord:
    return SessionRecord.model_validate(
        {
            "id": f"session{next(ids)}",
            "source": UrlSource(url="http://user:secret@example.org/a.mp4"),
            "model": model,
            "model_version": "abc",
            "labels": ("kick", "jump"),
            "pace": pace,
            "cost_steps_per_s": cost,
            "created_at": datetime.now(UTC),
        }
    )


def start(session_id: str, event_id: str) -> ActionStartEvent:
    return ActionStartEvent(
        id=event_id,
        session_id=session_id,
        decided_s=event_key(event_id)[0] / 1000,
        time=datetime.now(UTC),
        model="mocap",
        model_version="abc",
        label="kick",
        score=0.9,
        start_s=0.0,
        latency_s=Latency(decode=0.001, queue=0.001, infer=0.001, total=0.003),
    )


async def queue(store: Store, session: SessionRecord | None = None) -> SessionRecord:
    return await store.create_session(session or record(), max_queued=10)


async def claimed(store: Store, worker_id: str = "w1") -> SessionRecord:
    await queue(store)
    session = await store.claim_session(worker_id)
    assert session is not None
    return session


async def event_ids(store: Store, session_id: str, after: str | None = None) -> list[str]:
    return [event.id for event in await store.read_events(session_id, after=after)]


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


async def test_without_a_live_worker_there_is_no_capacity(store: Store, clock: Clock) -> None:
    clock.now_s += LEASE_S + 1
    assert await store.workers() == []
    with pytest.raises(OverCapacity):
        await queue(store)


async def test_pages_of_sessions_go_from_new_to_old(store: Store) -> None:
    created = [(await queue(store)).id for _ in range(5)]
    await store.request_stop(created[0])
    first, cursor = await store.list_sessions(limit=3)
    second, end = await store.list_sessions(limit=3, before=cursor)
    assert [session.id for session in first + second] == created[::-1]
    assert end is None
    stopped, _ = await store.list_sessions(limit=3, state="stopped")
    assert [session.id for session in stopped] == [created[0]]
    with pytest.raises(InvalidRequest):
        await store.list_sessions(limit=3, before="nonsense")


async def test_realtime_sessions_are_claimed_first_then_the_oldest(store: Store) -> None:
    fast = [(await queue(store)).id for _ in range(2)]
    live = (await queue(store, record(pace="realtime", cost=10))).id
    order = [await store.claim_session("w1") for _ in range(4)]
    assert [session and session.id for session in order] == [live, *fast, None]


async def test_a_claim_takes_only_what_fits_the_worker(store: Store) -> None:
    live = await queue(store, record(pace="realtime", cost=10))
    fast = await queue(store)
    await queue(store, record(model="another"))
    assert await store.claim_session("w1", room_steps_per_s=1) is None
    small = await store.claim_session("w1", room_steps_per_s=5)
    assert small is not None
    assert small.id == fast.id
    assert await store.claim_session("w1", pace="fast") is None
    large = await store.claim_session("w1", pace="realtime")
    assert large is not None
    assert large.id == live.id
    assert await store.claim_session("w1") is None
    assert await store.claim_session("never registered") is None


async def test_two_workers_never_own_the_same_session(store: Store) -> None:
    await store.register_worker(WorkerInfo("w2", 100.0, (MODEL,)))
    for _ in range(6):
        await queue(store)
    claims = await asyncio.gather(*(store.claim_session(worker) for worker in ("w1", "w2") * 4))
    owned = [session.id for session in claims if session is not None]
    assert len(owned) == len(set(owned)) == 6


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


async def test_a_replay_after_a_crash_adds_nothing_twice(store: Store) -> None:
    session = await claimed(store)
    events = [start(session.id, f"{ms}-0") for ms in (100, 200, 300)]
    await store.commit(session.id, session.token, events=events[:2], scores=[ScoreRow(0.1, (0, 0))])
    await store.release_worker("w1")
    await store.register_worker(WorkerInfo("w2", 100.0, (MODEL,)))
    resumed = await store.claim_session("w2")
    assert resumed is not None
    await store.commit(session.id, resumed.token, events=events, scores=[ScoreRow(0.1, (0, 0)), ScoreRow(0.2, (0, 0))])
    assert await event_ids(store, session.id) == ["0-0", "100-0", "200-0", "300-0"]
    assert [row.pts_s for row in await store.read_scores(session.id)] == [0.1, 0.2]


async def test_a_stale_worker_writes_nothing(store: Store, clock: Clock) -> None:
    session = await claimed(store)
    clock.now_s += LEASE_S + 1
    await store.register_worker(WorkerInfo("w2", 100.0, (MODEL,)))
    taken = await store.claim_session("w2")
    assert taken is not None
    assert taken.token > session.token
    with pytest.raises(LeaseLost):
        await store.commit(
            session.id,
            session.token,
            events=[start(session.id, "1-0")],
            checkpoint=CHECKPOINT,
            scores=[ScoreRow(1, (0, 0))],
        )
    assert await event_ids(store, session.id) == ["0-0"]
    assert await store.load_checkpoint(session.id) is None
    assert await store.read_scores(session.id) == []


async def test_a_renewed_lease_holds_and_an_old_one_does_not(store: Store, clock: Clock) -> None:
    await claimed(store)
    await store.register_worker(WorkerInfo("w2", 100.0, (MODEL,)))
    for _ in range(4):
        clock.now_s += LEASE_S / 2
        await store.renew_leases("w1")
        await store.renew_leases("w2")
        assert await store.claim_session("w2") is None
    clock.now_s += LEASE_S + 1
    assert await store.claim_session("w2") is not None


async def test_a_lease_from_before_a_reboot_does_not_hold(store: Store, clock: Clock) -> None:
    await claimed(store)
    clock.now_s = 5.0
    await store.register_worker(WorkerInfo("w2", 100.0, (MODEL,)))
    assert await store.claim_session("w2") is not None


async def test_a_released_worker_has_lost_everything_at_once(store: Store) -> None:
    session = await claimed(store)
    await store.release_worker("w1")
    with pytest.raises(LeaseLost):
        await store.commit(session.id, session.token, events=[start(session.id, "1-0")])
    with pytest.raises(LeaseLost):
        await store.renew_leases("w1")
    assert await store.claim_session("w1") is None
    await store.register_worker(WorkerInfo("w2", 100.0, (MODEL,)))
    again = await store.claim_session("w2")
    assert again is not None
    assert again.id == session.id


async def test_a_stop_reaches_the_owner_and_ends_the_session(store: Store) -> None:
    session = await claimed(store)
    assert await store.renew_leases("w1") == set()
    assert (await store.request_stop(session.id)).state == "queued"
    assert await store.renew_leases("w1") == {session.id}
    now = datetime.now(UTC)
    stopped = state_event(await store.get_session(session.id), "stopped", time=now)
    await store.commit(session.id, session.token, events=[stopped], update=SessionUpdate(state="stopped", ended_at=now))
    assert await store.renew_leases("w1") == set()
    assert await store.load_checkpoint(session.id) is None
    with pytest.raises(LeaseLost):
        await store.commit(session.id, session.token)


async def test_a_session_without_a_live_owner_stops_at_once(store: Store, clock: Clock) -> None:
    waiting = await queue(store)
    assert (await store.request_stop(waiting.id)).state == "stopped"
    orphan = await claimed(store)
    clock.now_s += LEASE_S + 1
    assert (await store.request_stop(orphan.id)).state == "stopped"
    with pytest.raises(LeaseLost):
        await store.commit(orphan.id, orphan.token, events=[start(orphan.id, "1-0")])
    assert await event_ids(store, orphan.id) == ["0-0", "0-1"]
    assert (await store.request_stop(orphan.id)).ended_at is not None


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


async def test_the_load_counts_live_workers_and_sessions(store: Store) -> None:
    await queue(store, record(cost=7))
    await store.request_stop((await queue(store)).id)
    load = await store.load()
    assert (load.workers, load.capacity_steps_per_s, load.reserved_steps_per_s) == (1, 100.0, 7.0)
    assert load.sessions == {"queued": 1, "stopped": 1}
    assert await store.workers() == [WorkerInfo("w1", 100.0, (MODEL,))]


async def test_another_process_of_the_same_store_sees_commits(store: Store, tmp_path: Path, clock: Clock) -> None:
    session = await claimed(store)
    other = open_sqlite(tmp_path, clock)
    waiting = asyncio.create_task(other.wait_log(await other.log_end(), timeout_s=30))
    await store.commit(session.id, session.token, events=[start(session.id, "5-0")])
    await asyncio.wait_for(waiting, timeout=5)
    assert await event_ids(other, session.id) == ["0-0", "5-0"]
    await other.close()


async def test_a_locked_database_is_reported_and_not_waited_for(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.store.sqlite_thread.PATIENCE_S", 0.1)
    locker = sqlite3.connect(tmp_path / "cake.db", isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    attempts = await asyncio.gather(*(queue(store) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(attempt, StoreUnavailable) for attempt in attempts)
    assert await store.workers() != []
    locker.execute("ROLLBACK")
    locker.close()
    await queue(store)


async def test_a_full_disk_is_reported_and_nothing_is_half_written(store: Store, tmp_path: Path) -> None:
    session = await claimed(store)
    assert isinstance(store, SqliteStore)
    await store._writer.read(lambda db: db.execute("PRAGMA max_page_count=100").fetchall())
    big = Checkpoint(position_s=1.0, detector=b"x" * 5_000_000, starts={}, frames=1)
    with pytest.raises(StorageFull):
        await store.commit(session.id, session.token, events=[start(session.id, "5-0")], checkpoint=big)
    assert await event_ids(store, session.id) == ["0-0"]


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "cake.db")
    db.execute("PRAGMA user_version=999")
    db.close()
    with pytest.raises(ValueError, match="newer CAKE"):
        SqliteStore(tmp_path / "cake.db")


def test_only_known_stores_open(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="CAKE_STORE_URL"):
        open_store("mysql://host/db")


@given(st.lists(st.floats(min_value=0, max_value=1e9, allow_nan=False), max_size=30))
def test_event_ids_grow_whatever_the_media_times(times_s: list[float]) -> None:
    last: str | None = None
    for decided_s in times_s:
        following = next_event_id(last, decided_s)
        assert last is None or event_key(following) > event_key(last)
        last = following
    if times_s == sorted(times_s) and times_s:
        assert last is not None
        assert event_key(last)[0] == round(times_s[-1] * 1000)


@pytest.mark.parametrize("text", ["", "1", "1-", "-1", "1-1-1", "a-0", "1-0\n", "١-0", " 1-0"])
def test_what_is_not_an_event_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="event id"):
        event_key(text)
