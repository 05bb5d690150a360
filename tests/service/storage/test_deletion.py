"""Deleted sessions leave no file behind, whatever happens during the deletion."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.errors import NotFoundError, StoreUnavailableError
from service.storage.blobs import Blobs
from service.storage.deletion import MIN_AGE, OrphanSweep, delete_session
from service.storage.stored_files import StoredClip, StoredFile, snapshot_name
from service.store import open_store
from service.store.protocols import Store
from tests.support.bucket_server import Bucket, bucket_server
from tests.support.disturbed_place import Place
from tests.support.store_kit import record


def later() -> datetime:
    """When files that are written now are old enough for the sweep."""
    return datetime.now(UTC) + MIN_AGE + timedelta(minutes=5)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with bucket_server() as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture(params=["folder", "bucket"])
def bucket(request: pytest.FixtureRequest) -> Bucket | None:
    if request.param == "folder":
        return None
    server: Bucket = request.getfixturevalue("s3")
    return server


@pytest.fixture
def blobs(bucket: Bucket | None, tmp_path: Path) -> Blobs:
    blobs = Blobs(None if bucket is None else bucket.url, tmp_path)
    blobs.prepare()
    return blobs


async def upload(blobs: Blobs, session_id: str) -> None:
    blobs.arriving_path(session_id).write_bytes(b"video")
    await blobs.keep_upload(session_id)
    await blobs.put_snapshot(session_id, b"jpeg")
    await blobs.put_clip(StoredClip(session_id, "100-0", 0.0), b"clip")


async def ended(store: Store, blobs: Blobs) -> str:
    """A stopped session with an upload and a snapshot."""
    session = await store.sessions.create(record(), max_queued=1000, may_wait=True)
    await upload(blobs, session.id)
    await store.sessions.request_stop(session.id)
    return session.id


async def names(blobs: Blobs) -> list[str]:
    return sorted([file.name async for batch in blobs.files() for file in batch])


async def test_a_deleted_session_leaves_no_file(store: Store, blobs: Blobs) -> None:
    kept, deleted = await ended(store, blobs), await ended(store, blobs)
    await delete_session(store.sessions, blobs, deleted)
    assert await names(blobs) == [f"clips/{kept}/100-0.0.mp4", f"snapshots/{kept}.jpg", f"uploads/{kept}"]
    with pytest.raises(NotFoundError):
        await delete_session(store.sessions, blobs, deleted)


async def test_a_deletion_that_fails_can_be_repeated(store: Store, s3: Bucket, tmp_path: Path) -> None:
    blobs = Blobs(s3.url, tmp_path)
    blobs.prepare()
    session_id = await ended(store, blobs)
    s3.stop()
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            await delete_session(store.sessions, blobs, session_id)
    assert (await store.sessions.get(session_id)).state == "stopped"


async def test_the_sweep_deletes_files_without_a_session(store: Store, blobs: Blobs, tmp_path: Path) -> None:
    kept = await ended(store, blobs)
    await upload(blobs, "orphan")
    (tmp_path / "uploads" / "orphan.7").write_bytes(b"the copy of a worker that was killed")
    assert await OrphanSweep(store.sessions, blobs).sweep() == 0, "it may be a session that is being created"
    assert await OrphanSweep(store.sessions, blobs, clock=later).sweep() == 4
    assert await names(blobs) == [f"clips/{kept}/100-0.0.mp4", f"snapshots/{kept}.jpg", f"uploads/{kept}"]


HALF_WRITTEN = """
import sys, time
import obstore
from obstore.store import LocalStore

def parts():
    yield bytes(1000)
    print("half", flush=True)
    time.sleep(600)

obstore.put(LocalStore(sys.argv[1]), sys.argv[2], parts(), use_multipart=True, chunk_size=1000)
"""


async def half_written(folder: Path, name: str) -> None:
    """A process is killed while it writes a file into the folder."""
    writer = await asyncio.create_subprocess_exec(sys.executable, "-c", HALF_WRITTEN, folder, name, stdout=PIPE)
    assert writer.stdout is not None
    assert await writer.stdout.readline() == b"half\n"
    writer.kill()
    await writer.wait()


async def test_half_of_a_file_of_a_process_that_was_killed_is_deleted_with_its_session_or_by_the_sweep(
    store: Store, tmp_path: Path
) -> None:
    blobs = Blobs(None, tmp_path / "data")
    blobs.prepare()
    deleted, kept = await ended(store, blobs), await ended(store, blobs)
    for session_id in (deleted, kept, "orphan"):
        for name in (snapshot_name(session_id), StoredClip(session_id, "200-0", 0.0).name):
            await half_written(tmp_path / "data", name)
    await delete_session(store.sessions, blobs, deleted)
    assert await OrphanSweep(store.sessions, blobs, clock=later).sweep() == 2
    left = {str(path.relative_to(tmp_path / "data")) for path in (tmp_path / "data").rglob("*") if path.is_file()}
    assert {name for name in left if kept not in name} == set()
    assert {f"snapshots/{kept}.jpg", f"snapshots/{kept}.jpg#1", f"clips/{kept}/200-0.0.mp4#1"} < left


class LockedBlobs(Blobs):
    """Cannot delete the files of the session `locked`."""

    async def remove(self, file: StoredFile) -> None:
        if file.session_id == "locked":
            raise StoreUnavailableError("Not now.")
        await super().remove(file)


async def test_a_file_that_cannot_be_deleted_holds_up_no_other(store: Store, tmp_path: Path) -> None:
    blobs = LockedBlobs(None, tmp_path)
    blobs.prepare()
    for session_id in ("locked", "orphan"):
        await upload(blobs, session_id)
    assert await OrphanSweep(store.sessions, blobs, clock=later).sweep() == 3
    assert await names(blobs) == ["clips/locked/100-0.0.mp4", "snapshots/locked.jpg", "uploads/locked"]


async def test_a_copy_that_disappears_while_files_are_listed_is_skipped(
    store: Store, s3: Bucket, tmp_path: Path
) -> None:
    """A worker deletes its copy of an upload when its session ends. A link to nothing is listed, but has no status."""
    blobs = Blobs(s3.url, tmp_path)
    blobs.prepare()
    (tmp_path / "uploads" / "gone.1").symlink_to(tmp_path / "nothing")
    (tmp_path / "uploads" / "killed.1").write_bytes(b"video")
    assert await OrphanSweep(store.sessions, blobs, clock=later).sweep() == 1


@asynccontextmanager
async def program(action: str, folder: Path, bucket: Bucket | None) -> AsyncIterator[Callable[[str], Awaitable[str]]]:
    """Runs the action on one session after the other; each run is killed one call later than the one before."""
    url = "" if bucket is None else bucket.url
    arguments = ("-m", "tests.support.killed_program", action, str(folder), url)
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=PIPE, stdout=PIPE)

    async def run(session_id: str) -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{session_id}\n".encode())
        return (await process.stdout.readline()).decode().strip()

    try:
        yield run
    finally:
        await _end(process)


async def _end(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()


@pytest.mark.slow
async def test_a_deletion_that_is_killed_at_any_step_loses_nothing(
    blobs: Blobs, bucket: Bucket | None, tmp_path: Path
) -> None:
    store = open_store(f"sqlite://{tmp_path / 'cake.db'}")
    outcomes: list[str] = []
    async with program("delete", tmp_path, bucket) as run:
        while "finished" not in outcomes:
            session_id = await ended(store, blobs)
            outcomes.append(await run(session_id))
            assert outcomes[-1] in ("killed", "finished")
            if await store.sessions.existing([session_id]):
                assert outcomes[-1] == "killed"
                await delete_session(store.sessions, blobs, session_id)
            await OrphanSweep(store.sessions, blobs, clock=later).sweep()
            assert await names(blobs) == []
    assert len(outcomes) > 10
    await store.close()


@pytest.mark.slow
async def test_a_submission_that_is_killed_at_any_step_leaves_a_session_with_its_file_or_nothing(
    blobs: Blobs, bucket: Bucket | None, tmp_path: Path
) -> None:
    store = open_store(f"sqlite://{tmp_path / 'cake.db'}")
    outcomes: list[str] = []
    async with program("submit", tmp_path, bucket) as run:
        while "finished" not in outcomes:
            session_id = f"submission{len(outcomes)}"
            outcomes.append(await run(session_id))
            blobs.remove_incomplete()
            await OrphanSweep(store.sessions, blobs, clock=later).sweep()
            exists = bool(await store.sessions.existing([session_id]))
            assert (f"uploads/{session_id}" in await names(blobs)) == exists
            assert exists or outcomes[-1] == "killed"
    assert len(outcomes) > 10
    await store.close()


class SlowBlobs(Blobs):
    """Holds back the last snapshot until the test releases it."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(None, data_dir)
        self.reached, self.released = asyncio.Event(), asyncio.Event()

    async def put_snapshot(self, session_id: str, jpeg: bytes) -> None:
        self.reached.set()
        await self.released.wait()
        await super().put_snapshot(session_id, jpeg)


async def test_a_snapshot_that_is_written_after_the_deletion_does_not_stay(place: Place, video: Path) -> None:
    blobs = SlowBlobs(place.settings.data_dir)
    place.blobs = blobs
    running = asyncio.create_task(place.run(upload=video))
    await blobs.reached.wait()
    while not (ended_ids := await place.store.sessions.ended_before(datetime.now(UTC) + timedelta(minutes=1), limit=1)):
        await place.store.log.wait(await place.store.log.end(), timeout_s=1.0)
    await delete_session(place.store.sessions, blobs, ended_ids[0])
    blobs.released.set()
    with pytest.raises(NotFoundError):
        await running
    assert await names(blobs) == []
