"""Behaviour specific to the SQLite store: other processes, locks, a full disk, versions."""

import asyncio
import errno
import itertools
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from service.access.sight import Sight
from service.errors import StorageFullError, StoreUnavailableError
from service.store import open_store
from service.store.protocols import Store
from service.store.records import DetectorSnapshot, LoggedEvent, ResumePoint, SessionRecord, SessionUpdate, state_event
from service.store.sqlite import schema as sqlite_schema
from service.store.sqlite.sessions import SqliteSessions
from service.store.sqlite.store import open_sqlite_store
from tests.support.api_kit import problem
from tests.support.cake_command import run
from tests.support.running_server import running_server
from tests.support.store_kit import (
    Clock,
    claimed,
    event_ids,
    open_sqlite,
    queue,
    record,
    start,
    with_worker,
)


@pytest_asyncio.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    async with with_worker(open_sqlite(tmp_path, clock)) as opened:
        yield opened


async def test_another_process_of_the_same_store_sees_commits(store: Store, tmp_path: Path, clock: Clock) -> None:
    session = await claimed(store)
    other = open_sqlite(tmp_path, clock)
    waiting = asyncio.create_task(other.log.wait(await other.log.end(), timeout_s=600))
    await store.log.commit(session.id, session.token, events=[start(session.id, "5-0")])
    await asyncio.wait_for(waiting, timeout=60)
    assert await event_ids(other, session.id) == ["0-0", "5-0"]
    await other.close()


async def test_a_locked_database_is_reported_in_time(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.store.sqlite.thread.PATIENCE_S", 0.1)
    locker = sqlite3.connect(tmp_path / "cake.db", isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    attempts = await asyncio.gather(*(queue(store) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(attempt, StoreUnavailableError) for attempt in attempts)
    assert await store.workers.live() != []
    locker.execute("ROLLBACK")
    locker.close()
    await queue(store)


async def test_an_unknown_ticket_does_not_wait_for_other_writes(store: Store, tmp_path: Path) -> None:
    """Anyone can send one."""
    locker = sqlite3.connect(tmp_path / "cake.db", isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    assert await store.keys.redeem_ticket("unknown", now=datetime.now(UTC)) is None
    locker.close()


async def test_a_full_disk_is_reported_and_nothing_is_half_written(store: Store, tmp_path: Path) -> None:
    session = await claimed(store)
    assert isinstance(store.sessions, SqliteSessions)
    await store.sessions._database.write(lambda db: db.execute("PRAGMA max_page_count=100").fetchall())
    big = ResumePoint(1.0, starts={}, frames=1, detector=DetectorSnapshot(1.0, b"x" * 5_000_000))
    with pytest.raises(StorageFullError):
        await store.log.commit(session.id, session.token, events=[start(session.id, "5-0")], resume_point=big)
    assert await event_ids(store, session.id) == ["0-0"]


def test_a_database_of_a_newer_version_is_rejected(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "cake.db")
    db.execute("PRAGMA user_version=999")
    db.close()
    with pytest.raises(StoreUnavailableError, match="newer CAKE"):
        open_sqlite_store(tmp_path / "cake.db")


async def test_a_damaged_page_is_reported_and_loses_only_its_own_rows(tmp_path: Path) -> None:
    """The server continues to run; only requests that need the damaged page fail."""
    store = open_sqlite_store(tmp_path / "cake.db")
    session = await store.sessions.create(record(), max_queued=9, may_wait=True)
    await store.close()
    with sqlite3.connect(tmp_path / "cake.db") as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events'").fetchone()
        (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
    db.close()
    with (tmp_path / "cake.db").open("r+b") as file:
        file.seek((page - 1) * page_bytes)
        file.write(b"\xff" * page_bytes)
    async with running_server(tmp_path) as server, asyncio.timeout(60):
        answer = await server.http.get(f"/v1/sessions/{session.id}/events")
        assert "cake store check" in problem(answer, 503, "store_unavailable").detail
        assert (await server.http.get("/livez")).status_code == 200
        assert (await server.http.get(f"/v1/sessions/{session.id}")).status_code == 200


def test_only_known_stores_open(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="CAKE_STORE_URL"):
        open_store("mysql://host/db")


async def test_a_database_from_before_keys_is_upgraded(tmp_path: Path, clock: Clock) -> None:
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
            assert (await store.sessions.get("old")).owner is None
            assert not await store.keys.exist()
            await queue(store, record().model_copy(update={"owner": "a"}))


async def test_a_resume_point_of_an_old_version_is_kept(tmp_path: Path, clock: Clock) -> None:
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
        kept = ResumePoint(1.5, starts={}, frames=15, detector=DetectorSnapshot(1.5, b"\x07"))
        assert await store.log.load_resume_point("old") == kept


@pytest.mark.parametrize("has_inotify", [True, False])
async def test_other_processes_are_notified_of_events_immediately(
    store: Store, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, has_inotify: bool
) -> None:
    def refused() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    if not has_inotify:
        monkeypatch.setattr("service.store.sqlite.commit_notifier.Inotify", refused)
    session = await claimed(store)
    other = open_sqlite(tmp_path, clock)

    async def next_event(after: str) -> LoggedEvent:
        while not (entries := (await other.log.read(after=after)).entries):
            await other.log.wait(after, timeout_s=600)
        [entry] = entries
        return entry

    end = await other.log.end()
    for number in range(1, 50):
        waiting = asyncio.create_task(next_event(end))
        await store.log.commit(session.id, session.token, events=[start(session.id, f"{number}-0")])
        entry = await asyncio.wait_for(waiting, timeout=60)
        assert entry.event.id == f"{number}-0"
        end = entry.cursor
    await other.close()


async def test_waiting_returns_immediately_if_there_are_events_already(store: Store) -> None:
    await queue(store)
    for _ in range(3):
        await asyncio.wait_for(store.log.wait("0", timeout_s=600), timeout=60)


async def test_events_of_a_running_session_are_trimmed_by_number_and_by_age(tmp_path: Path, clock: Clock) -> None:
    opened = open_sqlite_store(tmp_path / "cake.db", events_max=4, events_keep_s=10.0, trim_every=1, clock=clock)
    async with with_worker(opened) as store:
        session = await claimed(store)
        for at_s in range(1, 7):
            await store.log.commit(session.id, session.token, events=[start(session.id, f"{at_s}000-0")])
        assert await event_ids(store, session.id) == ["3000-0", "4000-0", "5000-0", "6000-0"]
        await store.log.commit(session.id, session.token, events=[start(session.id, "15000-0")])
        assert await event_ids(store, session.id) == ["5000-0", "6000-0", "15000-0"]


async def ended_with_many_events(store: Store, tmp_path: Path) -> SessionRecord:
    large = await claimed(store)
    db = sqlite3.connect(tmp_path / "cake.db")
    event = start(large.id, "1-0").model_dump_json()
    rows = ((large.id, number, event) for number in range(1, 60_000))
    db.executemany("INSERT INTO events (session_id, media_ms, seq, event, event_owner) VALUES (?, ?, 0, ?, '')", rows)
    db.commit()
    db.close()
    now = datetime.now(UTC)
    stopped = state_event(large, "stopped", time=now).model_copy(update={"id": "70000000-0"})
    update = SessionUpdate(state="stopped", ended_at=now)
    await store.log.commit(large.id, large.token, events=[stopped], update=update)
    return large


@pytest.mark.slow
async def test_the_file_shrinks_when_it_is_compacted(tmp_path: Path, clock: Clock) -> None:
    async with with_worker(open_sqlite(tmp_path, clock)) as store:
        large = await ended_with_many_events(store, tmp_path)
        await store.sessions.delete(large.id)
    assert (tmp_path / "cake.db").stat().st_size > 25_000_000
    assert run("store", "compact", "--data-dir", tmp_path)[0] == 0
    assert (tmp_path / "cake.db").stat().st_size < 1_000_000
    async with with_worker(open_sqlite(tmp_path, clock)) as store:
        assert await store.sessions.page(limit=10) == ([], None)


async def test_other_writes_pass_while_a_session_with_many_events_is_deleted(store: Store, tmp_path: Path) -> None:
    other = await claimed(store)
    large = await ended_with_many_events(store, tmp_path)
    deleting = asyncio.create_task(store.sessions.delete(large.id))
    commits = 0
    while not deleting.done():
        commits += 1
        await store.log.commit(other.id, other.token, events=[start(other.id, f"{commits}-0")])
    await deleting
    assert commits > 10
    assert await store.sessions.existing([large.id, other.id]) == {other.id}


async def test_events_of_one_owner_are_found_by_an_index(tmp_path: Path, clock: Clock) -> None:
    async with with_worker(open_sqlite(tmp_path, clock)) as store:
        await queue(store, record().model_copy(update={"owner": "a"}))
        await queue(store)
        assert [entry.owner for entry in (await store.log.read(after="0", sight=Sight(owner="a"))).entries] == ["a"]
    db = sqlite3.connect(tmp_path / "cake.db")
    query = "SELECT event FROM events WHERE cursor > 0 AND event_owner = ? AND event_owner <> '' ORDER BY cursor"
    plan = " ".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}", ("a",)))
    db.close()
    assert "events_by_owner" in plan
    assert "TEMP B-TREE" not in plan


async def test_a_data_folder_can_be_downgraded_and_upgraded_again(tmp_path: Path, clock: Clock) -> None:
    """Version 0.1 opens databases of format 6, and writes with these statements."""
    async with with_worker(open_sqlite(tmp_path, clock)) as store:
        await queue(store)
    db = sqlite3.connect(tmp_path / "cake.db")
    assert db.execute("PRAGMA user_version").fetchone() == (6,)
    db.execute(
        "INSERT INTO sessions (id, state, pace, model, cost, owner, upload_bytes, idempotency_key, digest, record)"
        " VALUES ('old', 'queued', 'fast', 'mocap', 2.0, 'a', 0, NULL, '', ?)",
        (record().model_copy(update={"id": "old", "owner": "a"}).model_dump_json(),),
    )
    db.execute(
        "INSERT INTO events (session_id, media_ms, seq, event) VALUES ('old', 5, 0, ?)",
        (start("old", "5-0").model_dump_json(),),
    )
    db.execute("INSERT INTO webhooks (session_id, url, secret) VALUES ('old', 'https://example.org/', 's')")
    db.execute("INSERT OR REPLACE INTO checkpoints VALUES ('old', 1.5, '{}', 15)")
    db.execute("INSERT OR REPLACE INTO detectors VALUES ('old', 1.2, x'07')")
    db.execute("INSERT OR IGNORE INTO scores VALUES ('old', 1.2, x'00000000')")
    db.execute("INSERT INTO tickets VALUES ('digest', 'a', 1e12)")
    read_log = "SELECT cursor, event, owner FROM events JOIN sessions ON sessions.id = session_id WHERE owner = 'a'"
    assert len(db.execute(read_log).fetchall()) == 1
    db.commit()
    db.close()
    async with with_worker(open_sqlite(tmp_path, clock)) as store:
        [entry] = (await store.log.read(after="0", sight=Sight(owner="a"))).entries
        assert entry.event.id == "5-0"
        [webhook] = await store.outbox.due(now_unix_s=1.0, limit=9)
        assert webhook.session_id == "old"
        assert await store.log.load_resume_point("old") is not None
