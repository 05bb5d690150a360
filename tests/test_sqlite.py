"""What is particular to the SQLite store: other processes, locks, a full disk, versions."""

import asyncio
import errno
import itertools
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from store_kit import (
    Clock,
    claimed,
    event_ids,
    open_sqlite,
    queue,
    record,
    start,
    with_worker,
)

from service.errors import StorageFull, StoreUnavailable
from service.store import open_store, sqlite_schema
from service.store.base import LoggedEvent, Store
from service.store.checkpoint import Checkpoint, Remembered
from service.store.sqlite import SqliteStore


@pytest_asyncio.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    async with with_worker(open_sqlite(tmp_path, clock)) as opened:
        yield opened


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
    big = Checkpoint(1.0, starts={}, frames=1, detector=Remembered(1.0, b"x" * 5_000_000))
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


async def test_a_database_from_before_keys_is_brought_up_to_date(tmp_path: Path, clock: Clock) -> None:
    db = sqlite3.connect(tmp_path / "cake.db")
    for statement in sqlite_schema._FIRST:
        db.execute(statement)
    old = record().model_dump_json(exclude={"owner", "upload_bytes"})
    db.execute(
        "INSERT INTO sessions (id, state, pace, model, cost, digest, record)"
        " VALUES ('old', 'queued', 'fast', 'mocap', 2.0, '', ?)",
        (old,),
    )
    db.execute("PRAGMA user_version=1")
    db.commit()
    db.close()
    for _ in range(2):
        async with with_worker(open_sqlite(tmp_path, clock)) as store:
            assert (await store.get_session("old")).owner is None
            assert not await store.has_keys()
            await queue(store, record().model_copy(update={"owner": "a"}))


async def test_a_checkpoint_from_when_it_always_had_the_detectors_state_is_kept(tmp_path: Path, clock: Clock) -> None:
    db = sqlite3.connect(tmp_path / "cake.db")
    for statement in itertools.chain(*sqlite_schema._STEPS[:4]):
        db.execute(statement)
    db.execute(
        "INSERT INTO sessions (id, state, pace, model, cost, digest, record)"
        " VALUES ('old', 'running', 'fast', 'mocap', 2.0, '', ?)",
        (record().model_dump_json(),),
    )
    db.execute("INSERT INTO checkpoints VALUES ('old', 1.5, x'07', '{}', 15)")
    db.execute("PRAGMA user_version=4")
    db.commit()
    db.close()
    async with with_worker(open_sqlite(tmp_path, clock)) as store:
        kept = Checkpoint(1.5, starts={}, frames=15, detector=Remembered(1.5, b"\x07"))
        assert await store.load_checkpoint("old") == kept


@pytest.mark.parametrize("can_listen", [True, False])
async def test_events_are_told_at_once_to_other_processes(
    store: Store, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, can_listen: bool
) -> None:
    def refused() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    if not can_listen:
        monkeypatch.setattr("service.store.sqlite_bell.Inotify", refused)
    session = await claimed(store)
    other = open_sqlite(tmp_path, clock)

    async def next_event(after: str) -> LoggedEvent:
        while not (entries := await other.read_log(after=after)):
            await other.wait_log(after, timeout_s=30)
        [entry] = entries
        return entry

    end = await other.log_end()
    for number in range(1, 50):
        waiting = asyncio.create_task(next_event(end))
        await store.commit(session.id, session.token, events=[start(session.id, f"{number}-0")])
        entry = await asyncio.wait_for(waiting, timeout=5)
        assert entry.event.id == f"{number}-0"
        end = entry.cursor
    await other.close()


async def test_whoever_comes_late_to_the_log_need_not_wait(store: Store) -> None:
    await queue(store)
    for _ in range(3):
        await asyncio.wait_for(store.wait_log("0", timeout_s=30), timeout=5)
