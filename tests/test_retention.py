"""Sessions that ended long ago go, with all that belongs to them; others stay."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from running_server import running_server
from store_kit import queue

from service.blobs import Blobs
from service.retention import AT_ONCE, Retention
from service.store.base import Store

DAY_S = 24 * 3600.0


async def ended(store: Store, blobs: Blobs, folder: Path) -> str:
    """A stopped session with a video and a picture."""
    session = await queue(store)
    await asyncio.to_thread((folder / "uploads" / session.id).write_bytes, b"video")
    await blobs.put_snapshot(session.id, b"jpeg")
    await store.request_stop(session.id)
    return session.id


async def test_what_ended_long_ago_goes_with_its_files_and_the_rest_stays(store: Store, tmp_path: Path) -> None:
    (tmp_path / "uploads").mkdir()
    blobs = Blobs(None, tmp_path)
    gone = [await ended(store, blobs, tmp_path) for _ in range(2)]
    waiting = await queue(store)
    now = datetime.now(UTC)
    for age, deleted in ((timedelta(hours=23), 0), (timedelta(hours=25), 2), (timedelta(hours=25), 0)):
        assert await Retention(store, blobs, DAY_S, clock=lambda age=age: now + age).sweep() == deleted
    assert [session.id for session in (await store.list_sessions(limit=9))[0]] == [waiting.id]
    for session_id in gone:
        assert await blobs.snapshot(session_id) is None
        assert not (tmp_path / "uploads" / session_id).exists()


async def test_two_servers_sweep_at_a_time(store: Store, tmp_path: Path) -> None:
    (tmp_path / "uploads").mkdir()
    blobs = Blobs(None, tmp_path)
    for _ in range(9):
        await ended(store, blobs, tmp_path)
    later = datetime.now(UTC) + timedelta(days=2)
    sweeps = [Retention(store, blobs, DAY_S, clock=lambda: later).sweep() for _ in range(2)]
    assert max(await asyncio.gather(*sweeps)) == 9 < AT_ONCE
    assert (await store.list_sessions(limit=9))[0] == []


async def test_a_server_that_is_told_to_deletes_by_itself(tmp_path: Path) -> None:
    async with running_server(tmp_path, keep_ended_s=DAY_S) as server:
        session = await server.submit()
        await server.http.delete(session.links.self)
        assert (await server.http.get(session.links.self)).json()["state"] == "stopped"
    async with running_server(tmp_path, keep_ended_s=0.001) as server, asyncio.timeout(20):
        while (await server.http.get(session.links.self)).status_code != 404:  # noqa: ASYNC110 - asking is all one can do
            await asyncio.sleep(0.05)
