"""Sessions that ended long ago are deleted with their files; others stay."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from service.errors import StoreUnavailableError
from service.observability.telemetry import ApiMetrics
from service.storage.blobs import Blobs
from service.storage.disk import Disk
from service.storage.retention import BATCH, SET_ASIDE, Retention
from service.store.protocols import Store
from tests.support.running_server import running_server
from tests.support.store_kit import queue

DAY_S = 24 * 3600.0


def retention(store: Store, blobs: Blobs, disk: Disk, now: datetime, **options: Any) -> Retention:
    poison = ApiMetrics(CollectorRegistry()).poison
    return Retention(store.sessions, blobs, disk, poison, clock=lambda: now, **{"keep_s": DAY_S, **options})


async def ended(store: Store, blobs: Blobs, folder: Path) -> str:
    """A stopped session with a video and a snapshot."""
    session = await queue(store)
    await asyncio.to_thread((folder / "uploads" / session.id).write_bytes, b"video")
    await blobs.put_snapshot(session.id, b"jpeg")
    await store.sessions.request_stop(session.id)
    return session.id


async def test_sessions_that_ended_long_ago_are_deleted_with_their_files(store: Store, tmp_path: Path) -> None:
    blobs = Blobs(None, tmp_path)
    blobs.prepare()
    gone = [await ended(store, blobs, tmp_path) for _ in range(2)]
    waiting = await queue(store)
    now = datetime.now(UTC)
    for age, deleted in ((timedelta(hours=23), 0), (timedelta(hours=25), 2), (timedelta(hours=25), 0)):
        assert await retention(store, blobs, Disk(tmp_path, 0), now + age).sweep() == deleted
    assert [session.id for session in (await store.sessions.page(limit=9))[0]] == [waiting.id]
    for session_id in gone:
        assert await blobs.snapshot(session_id) is None
        assert not (tmp_path / "uploads" / session_id).exists()


async def test_two_servers_may_sweep_at_the_same_time(store: Store, tmp_path: Path) -> None:
    blobs = Blobs(None, tmp_path)
    blobs.prepare()
    for _ in range(9):
        await ended(store, blobs, tmp_path)
    later = datetime.now(UTC) + timedelta(days=2)
    sweeps = [retention(store, blobs, Disk(tmp_path, 0), later).sweep() for _ in range(2)]
    assert max(await asyncio.gather(*sweeps)) == 9 < BATCH
    assert (await store.sessions.page(limit=9))[0] == []


async def test_a_server_with_retention_deletes_sessions(tmp_path: Path) -> None:
    async with running_server(tmp_path, keep_ended_s=DAY_S) as server:
        session = await server.submit()
        await server.http.delete(session.links.self)
        assert (await server.http.get(session.links.self)).json()["state"] == "stopped"
    async with running_server(tmp_path, keep_ended_s=0.001) as server, asyncio.timeout(60):
        while (await server.http.get(session.links.self)).status_code != 404:  # noqa: ASYNC110 - there is nothing to await
            await asyncio.sleep(0.05)


async def test_the_oldest_ended_sessions_are_deleted_while_the_disk_is_low(store: Store, tmp_path: Path) -> None:
    blobs = Blobs(None, tmp_path)
    blobs.prepare()
    await ended(store, blobs, tmp_path)
    now = datetime.now(UTC) + timedelta(seconds=2)
    never_low, always_low = Disk(tmp_path, 0), Disk(tmp_path, 2**62)
    for disk, delete_when_low, deleted in ((never_low, True, 0), (always_low, False, 0), (always_low, True, 1)):
        sweep = retention(store, blobs, disk, now, keep_s=0, delete_when_low=delete_when_low).sweep()
        assert await sweep == deleted
    assert (await store.sessions.page(limit=9))[0] == []


class PartlyFailingBlobs(Blobs):
    """Cannot delete the files of some sessions."""

    def __init__(self, data_dir: Path, error: Exception) -> None:
        super().__init__(None, data_dir)
        self.undeletable: set[str] = set()
        self._error = error

    async def delete(self, session_id: str) -> None:
        if session_id in self.undeletable:
            raise self._error
        await super().delete(session_id)


@pytest.mark.parametrize("when_low", [False, True], ids=["old", "low disk"])
@pytest.mark.parametrize("error", [StoreUnavailableError("Not now."), RuntimeError("a defect")], ids=["away", "defect"])
async def test_a_session_that_cannot_be_deleted_holds_up_no_other(
    store: Store, tmp_path: Path, when_low: bool, error: Exception
) -> None:
    blobs = PartlyFailingBlobs(tmp_path, error)
    blobs.prepare()
    stuck = await ended(store, blobs, tmp_path)
    await ended(store, blobs, tmp_path)
    blobs.undeletable.add(stuck)
    now = datetime.now(UTC) + timedelta(days=2)
    disk = Disk(tmp_path, 2**62 if when_low else 0)
    sweeping = retention(store, blobs, disk, now, keep_s=0 if when_low else DAY_S, delete_when_low=when_low)
    assert await sweeping.sweep() == 1
    assert [session.id for session in (await store.sessions.page(limit=9))[0]] == [stuck]
    blobs.undeletable.clear()
    assert await sweeping.sweep() == 0, "it is left alone for a while"
    sweeping = retention(store, blobs, disk, now + SET_ASIDE, keep_s=0 if when_low else DAY_S, delete_when_low=when_low)
    assert await sweeping.sweep() == 1


async def test_the_audit_log_records_what_the_server_deletes_by_itself(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        session = await server.submit()
        await server.http.delete(session.links.self)
    async with running_server(tmp_path, keep_ended_s=0.001) as server, asyncio.timeout(60):
        while (await server.http.get(session.links.self)).status_code != 404:  # noqa: ASYNC110 - there is nothing to await
            await asyncio.sleep(0.05)
    entries = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    [deleted] = [entry for entry in entries if entry["action"] == "session.delete"]
    assert (deleted["session"], deleted["reason"]) == (session.id, "old")
