"""`cake store`: stored data can be checked, backed up and restored."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from service.sources.stored import StoredUpload
from service.storage.blobs import Blobs
from service.store import open_store
from service.store.protocols import Store
from tests.support.cake_command import run
from tests.support.store_kit import record


async def fill(folder: Path) -> str:
    """A store with one session and its upload; returns the session's id."""
    store, blobs = open_store(f"sqlite://{folder / 'cake.db'}"), Blobs(None, folder)
    blobs.prepare()
    session = record().model_copy(update={"source": StoredUpload(filename="v.mp4")})
    blobs.arriving_path(session.id).write_bytes(b"video")
    await blobs.keep_upload(session.id)
    await store.sessions.create(session, max_queued=9, may_wait=True)
    await store.close()
    return session.id


@pytest.fixture
def session_id(tmp_path: Path) -> str:
    return asyncio.run(fill(tmp_path / "data"))


async def ids(store: Store) -> list[str]:
    found = [session.id for session in (await store.sessions.page(limit=9))[0]]
    await store.close()
    return found


def test_a_sound_store_passes_the_check(session_id: str, tmp_path: Path) -> None:
    status, out, _ = run("store", "check", "--data-dir", tmp_path / "data")
    assert (status, out.strip()) == (0, "1 sessions, 1 events, 0 keys, 1 files (0 without a session)")


def test_damage_and_losses_are_found(session_id: str, tmp_path: Path) -> None:
    (tmp_path / "data" / "uploads" / session_id).rename(tmp_path / "data" / "uploads" / "another")
    with sqlite3.connect(tmp_path / "data" / "cake.db") as db:
        db.execute("INSERT INTO events (session_id, media_ms, seq, event) VALUES (?, 5, 0, '{}')", (session_id,))
        db.execute("INSERT INTO scores VALUES ('gone', 1.0, x'00')")
    status, out, _ = run("store", "check", "--data-dir", tmp_path / "data")
    assert status == 1
    for words in (
        "1 without a session",
        f"upload of session {session_id} is missing",
        "kind event",
        "refers to a missing",
    ):
        assert words in out


def test_a_backup_is_restored_into_an_empty_folder(session_id: str, tmp_path: Path) -> None:
    assert run("store", "backup", tmp_path / "copy", "--data-dir", tmp_path / "data")[0] == 0
    assert run("store", "restore", tmp_path / "copy", "--data-dir", tmp_path / "new")[0] == 0
    assert run("store", "check", "--data-dir", tmp_path / "new")[0] == 0
    assert asyncio.run(ids(open_store(f"sqlite://{tmp_path / 'new' / 'cake.db'}"))) == [session_id]
    assert (tmp_path / "new" / "uploads" / session_id).read_bytes() == b"video"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("check", "--data-dir", "{}/none"), "no database"),
        (("backup", "{}/data", "--data-dir", "{}/data"), "exists"),
        (("restore", "{}/data", "--data-dir", "{}/data"), "exists"),
        (("restore", "{}/none", "--data-dir", "{}/new"), "no database"),
    ],
)
def test_a_command_that_cannot_work_fails_with_one_line(
    session_id: str, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    status, _, err = run("store", *(argument.format(tmp_path) for argument in arguments))
    assert status in (1, 2)
    assert words in err
    assert err.count("\n") == 1


def test_a_redis_is_backed_up_with_its_own_tools(tmp_path: Path, redis_url: str) -> None:
    assert run("store", "check", "--data-dir", tmp_path, CAKE_STORE_URL=redis_url)[0] == 0
    status, _, err = run("store", "backup", tmp_path / "copy", "--data-dir", tmp_path, CAKE_STORE_URL=redis_url)
    assert (status, "own tools" in err) == (2, True)
