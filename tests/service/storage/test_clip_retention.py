"""Clips in a folder and in a bucket: found by their event, and deleted by age and by the size of all of them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.errors import NotFoundError, StoreUnavailableError
from service.storage.blobs import Blobs
from service.storage.clip_retention import ClipRetention
from service.storage.stored_files import StoredClip, StoredFile, label_digest, still_of_upload_name
from tests.support.bucket_server import bucket_server


@pytest.fixture(params=["folder", "bucket"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Blobs]:
    if request.param == "folder":
        yield Blobs(None, tmp_path)
        return
    with bucket_server() as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        yield Blobs(server.url, tmp_path)


async def stored(blobs: Blobs, *numbers: int) -> list[StoredClip]:
    """Clips of 100 bytes, each of another event."""
    clips = [StoredClip("a", f"{number}-0", number / 2) for number in numbers]
    for clip in clips:
        await blobs.put_clip(clip, bytes(100))
    return clips


async def left(blobs: Blobs) -> list[str]:
    return sorted([clip.name async for batch in blobs.clips() for clip in batch])


async def test_a_clip_is_found_by_its_event_with_the_time_of_its_first_frame(blobs: Blobs) -> None:
    clips = await stored(blobs, 1, 10)
    assert [await blobs.find_clip("a", clip.event_id) for clip in clips] == clips
    assert await blobs.find_clip("a", "2-0") is None
    assert await blobs.find_clip("b", "1-0") is None
    assert await blobs.read_clip(clips[0]) == bytes(100)
    with pytest.raises(NotFoundError, match="was deleted"):
        await blobs.read_clip(StoredClip("a", "2-0", 1.0))


async def test_clips_within_their_bounds_stay(blobs: Blobs) -> None:
    clips = await stored(blobs, 1, 2)
    assert await ClipRetention(blobs, keep_s=3600, max_bytes=200).sweep() == 0
    assert await left(blobs) == [clip.name for clip in clips]


async def test_old_clips_are_deleted_unless_age_does_not_matter(blobs: Blobs) -> None:
    await stored(blobs, 1, 2)

    def later() -> datetime:
        return datetime.now(UTC) + timedelta(hours=2)

    assert await ClipRetention(blobs, keep_s=0, max_bytes=10**9, clock=later).sweep() == 0
    assert await ClipRetention(blobs, keep_s=3600, max_bytes=10**9, clock=later).sweep() == 2
    assert await left(blobs) == []


async def test_clips_of_an_action_with_its_own_age_limit_are_deleted_at_that_age(blobs: Blobs) -> None:
    labels = ("fall", "fight", "a kick, high")
    clips = [StoredClip("a", f"{number}-0", 0.5, label_digest(label)) for number, label in enumerate(labels)]
    for clip in clips:
        await blobs.put_clip(clip, bytes(100))
    await stored(blobs, 7)
    retention = ClipRetention(
        blobs,
        keep_s=3600,
        keep_of_s={"fall": 0, "a kick, high": 3 * 3600},
        max_bytes=10**9,
        clock=lambda: datetime.now(UTC) + timedelta(hours=2),
    )
    assert await retention.sweep() == 2
    assert await left(blobs) == sorted([clips[0].name, clips[2].name])
    assert await blobs.find_clip("a", "2-0") == clips[2]


async def test_the_oldest_clips_are_deleted_when_all_of_them_are_too_large(blobs: Blobs) -> None:
    await stored(blobs, 1, 2, 3)
    assert await ClipRetention(blobs, keep_s=0, max_bytes=250).sweep() == 1
    assert len(await left(blobs)) == 2
    assert await ClipRetention(blobs, keep_s=0, max_bytes=0).sweep() == 2
    assert await left(blobs) == []


class LockedBlobs(Blobs):
    """Cannot delete the clips of the event 1-0."""

    async def remove(self, file: StoredFile) -> None:
        if "/1-0." in file.name:
            raise StoreUnavailableError("Not now.")
        await super().remove(file)


async def test_a_clip_that_cannot_be_deleted_holds_up_no_other(tmp_path: Path) -> None:
    blobs = LockedBlobs(None, tmp_path)
    locked, *_ = await stored(blobs, 1, 2, 3)
    assert await ClipRetention(blobs, keep_s=0, max_bytes=0).sweep() == 2
    assert await left(blobs) == [locked.name]


async def test_stills_are_deleted_with_their_clips_and_count_as_they_do(blobs: Blobs) -> None:
    old, new = await stored(blobs, 1, 2)
    for name in (old.still_name, new.still_name, still_of_upload_name("b", "1-0")):
        await blobs.put_still(name, bytes(50))
    assert await ClipRetention(blobs, keep_s=0, max_bytes=299).sweep() == 2
    assert await left(blobs) == sorted([new.name, new.still_name, still_of_upload_name("b", "1-0")])
    assert await blobs.find_clip("a", new.event_id) == new
    await blobs.delete("a")
    await blobs.delete("b")
    assert await left(blobs) == []
