"""Clips on a full disk are rejected for that reason; the tests of sessions check that sessions continue with a
warning.
"""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.errors import StorageFullError
from service.schemas import Session
from service.storage.blobs import Blobs
from service.storage.stored_files import StoredClip
from tests.support.api_kit import problem, upload
from tests.support.bucket_server import bucket_server
from tests.support.made_videos import write_video
from tests.support.paths import ROOT
from tests.support.running_server import running_server
from tests.support.small_disk import fill, has_small_disks, on_small_disk

CLIP = StoredClip("a", "1000-0", 0.5)
DISK_BYTES = 60_000_000


async def refusals(disk: Path, bucket: str, video: Path) -> None:
    """Print how a clip is refused on a full disk, by storage and over HTTP, and what is answered afterwards."""
    content = await asyncio.to_thread(video.read_bytes)
    async with running_server(disk, blob_url=bucket, min_free_bytes=0) as server:
        session = Session.model_validate((await upload(server, video=content)).json())
        await server.worker.claim()
        await server.worker.enter(session.id, "running")
        await server.worker.starts(session.id, [1.0])
        filler = fill(disk)
        try:
            await Blobs(None, disk).put_clip(CLIP, bytes(100_000))
        except StorageFullError as error:
            sys.stdout.write(f"stored: {error.status} {error.code}\n")
        path = f"{session.links.events}/1000-0/clip.mp4"
        # To cut it, the video is copied from the bucket to the disk.
        refused = problem(await server.http.get(path), 507, "storage_full")
        sys.stdout.write(f"answered: {refused.status} {refused.code}\n")
        filler.unlink()
        answer = await server.http.get(path)
        sys.stdout.write(f"answered: {answer.status_code} {answer.headers['content-type']}\n")


def test_a_clip_on_a_full_disk_is_refused_as_such_until_there_is_space(tmp_path: Path) -> None:
    if not has_small_disks(tmp_path / "probe"):
        pytest.skip("mounting a small disk needs user namespaces")
    disk, video = tmp_path / "disk", write_video(tmp_path / "v.mp4")
    with bucket_server() as bucket:
        program = [sys.executable, __file__, str(disk), bucket.url, str(video)]
        environ = {**os.environ, **bucket.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [*on_small_disk(disk, DISK_BYTES), *program], env=environ, capture_output=True, text=True, check=False
        )
    said = [line for line in done.stdout.splitlines() if line.startswith(("stored", "answered"))]
    expected = ["stored: 507 storage_full", "answered: 507 storage_full", "answered: 200 video/mp4"]
    assert said == expected, done.stdout + done.stderr


if __name__ == "__main__":
    asyncio.run(refusals(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
