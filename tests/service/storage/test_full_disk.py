"""Clips on a disk that is full: the request gets 507, the session a warning."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.errors import StorageFullError
from service.storage.blobs import Blobs
from service.storage.stored_files import StoredClip
from tests.support.bucket_server import bucket_server
from tests.support.paths import ROOT
from tests.support.small_disk import fill, has_small_disks, on_small_disk

CLIP = StoredClip("a", "1000-0", 0.5)


async def refusals(disk: Path, bucket: str) -> None:
    """Fill the disk, and print why a clip can neither be stored on it nor be copied to it from a bucket."""
    local, remote = Blobs(None, disk), Blobs(bucket, disk)
    local.prepare()
    await remote.put_clip(CLIP, bytes(100_000))
    fill(disk)
    for attempt in (local.put_clip(CLIP, bytes(100_000)), _copy(remote)):
        try:
            await attempt
        except StorageFullError as error:
            sys.stdout.write(f"{error.status} {error.code}\n")


async def _copy(remote: Blobs) -> None:
    async with remote.clip_copy(CLIP):
        pass


def test_a_clip_on_a_full_disk_is_refused_as_such(tmp_path: Path) -> None:
    if not has_small_disks(tmp_path / "probe"):
        pytest.skip("mounting a small disk needs user namespaces")
    disk = tmp_path / "disk"
    with bucket_server() as bucket:
        program = [sys.executable, __file__, str(disk), bucket.url]
        environ = {**os.environ, **bucket.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [*on_small_disk(disk, 2_000_000), *program], env=environ, capture_output=True, text=True, check=False
        )
    refused = [line for line in done.stdout.splitlines() if line.startswith("507")]
    assert refused == ["507 storage_full", "507 storage_full"], done.stdout + done.stderr


if __name__ == "__main__":
    asyncio.run(refusals(Path(sys.argv[1]), sys.argv[2]))
