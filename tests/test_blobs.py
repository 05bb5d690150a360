"""Uploads and snapshots in a folder and in a bucket."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from bucket_server import Bucket, bucket_server

from service.blobs import Blobs, BlobUrlInvalid, check_blob_url
from service.errors import StoreUnavailable

LARGE = bytes(range(256)) * 100_000
"""More than one part of an upload to a bucket."""


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with bucket_server() as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture(params=["folder", "bucket"])
def url(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "folder" else request.getfixturevalue("bucket").url


def blobs_at(folder: Path, url: str | None) -> Blobs:
    (folder / "uploads").mkdir(parents=True)
    return Blobs(url, folder)


def is_empty(folder: Path) -> bool:
    return not any((folder / "uploads").iterdir())


async def arrived(blobs: Blobs, folder: Path, content: bytes) -> None:
    path = folder / "uploads" / "a.part"
    path.write_bytes(content)
    await blobs.keep_upload("a", path)
    assert not path.exists()


async def test_an_upload_is_found_by_whoever_shares_the_place(url: str | None, tmp_path: Path) -> None:
    server = blobs_at(tmp_path / "server", url)
    await arrived(server, tmp_path / "server", LARGE)
    worker = server if url is None else blobs_at(tmp_path / "worker", url)
    for token in (1, 2):
        await worker.fetch_upload("a", token)
        assert worker.upload_path("a", token).read_bytes() == LARGE
    worker.forget_upload("a", 1)
    assert worker.upload_path("a", 2).read_bytes() == LARGE
    worker.forget_upload("a", 2)
    await server.delete("a")
    assert is_empty(tmp_path / "server")
    assert url is None or is_empty(tmp_path / "worker")


async def test_a_snapshot_is_replaced_and_goes_with_its_session(url: str | None, tmp_path: Path) -> None:
    blobs = blobs_at(tmp_path, url)
    assert await blobs.snapshot("a") is None
    for picture in (b"one", b"two"):
        await blobs.put_snapshot("a", picture)
        assert await blobs.snapshot("a") == picture
    await blobs.delete("a")
    await blobs.delete("a")
    assert await blobs.snapshot("a") is None


async def test_a_bucket_holds_what_it_should_under_its_prefix(bucket: Bucket, tmp_path: Path) -> None:
    blobs = blobs_at(tmp_path, bucket.url)
    await arrived(blobs, tmp_path, b"video")
    await blobs.put_snapshot("a", b"jpeg")
    assert bucket.names() == ["cake/snapshots/a.jpg", "cake/uploads/a"]
    with pytest.raises(FileNotFoundError):
        await blobs.fetch_upload("b", 1)
    assert is_empty(tmp_path)


async def test_a_bucket_that_is_away_is_reported_in_time(bucket: Bucket, tmp_path: Path) -> None:
    blobs = blobs_at(tmp_path, bucket.url)
    await arrived(blobs, tmp_path, b"video")
    bucket.stop()
    for call in (blobs.fetch_upload("a", 1), blobs.put_snapshot("a", b""), blobs.snapshot("a"), blobs.delete("a")):
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(call, timeout=20)
    assert is_empty(tmp_path)


@pytest.mark.parametrize("url", ["videos", "s4://videos", "ftp://host/videos", ""])
def test_an_address_that_is_no_bucket_is_refused_with_the_name_of_the_setting(url: str) -> None:
    with pytest.raises(BlobUrlInvalid, match="CAKE_BLOB_URL"):
        check_blob_url(url)
