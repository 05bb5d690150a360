"""Uploads and snapshots in a folder and in a bucket."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.errors import StoreUnavailableError
from service.storage.blobs import Blobs, warn_of_separate_folders
from service.storage.objects import BlobUrlError, check_blob_url
from tests.support.bucket_server import Bucket, bucket_server
from tests.support.certificates import certificate_for
from tests.support.running_server import running_server

LARGE = bytes(range(256)) * 100_000
"""Larger than one part of a multipart upload to a bucket."""


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
    blobs = Blobs(url, folder)
    blobs.prepare()
    return blobs


def is_empty(folder: Path) -> bool:
    return not any((folder / "uploads").iterdir())


async def arrived(blobs: Blobs, content: bytes) -> None:
    path = blobs.arriving_path("a")
    path.write_bytes(content)
    await blobs.keep_upload("a")
    assert not path.exists()


async def test_every_machine_that_shares_the_storage_finds_an_upload(url: str | None, tmp_path: Path) -> None:
    server = blobs_at(tmp_path / "server", url)
    await arrived(server, LARGE)
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


async def test_a_snapshot_is_replaced_and_deleted_with_its_session(url: str | None, tmp_path: Path) -> None:
    blobs = blobs_at(tmp_path, url)
    assert await blobs.snapshot("a") is None
    for jpeg in (b"one", b"two"):
        await blobs.put_snapshot("a", jpeg)
        assert await blobs.snapshot("a") == jpeg
    await blobs.delete("a")
    await blobs.delete("a")
    assert await blobs.snapshot("a") is None


async def test_a_bucket_holds_the_files_below_its_prefix(bucket: Bucket, tmp_path: Path) -> None:
    blobs = blobs_at(tmp_path, bucket.url)
    await arrived(blobs, b"video")
    await blobs.put_snapshot("a", b"jpeg")
    assert bucket.names() == ["cake/snapshots/a.jpg", "cake/uploads/a"]
    with pytest.raises(FileNotFoundError):
        await blobs.fetch_upload("b", 1)
    assert is_empty(tmp_path)


async def test_an_unreachable_bucket_is_reported_in_time(bucket: Bucket, tmp_path: Path) -> None:
    blobs = blobs_at(tmp_path, bucket.url)
    await arrived(blobs, b"video")
    bucket.stop()
    for call in (blobs.fetch_upload("a", 1), blobs.put_snapshot("a", b""), blobs.snapshot("a"), blobs.delete("a")):
        with pytest.raises(StoreUnavailableError):
            await asyncio.wait_for(call, timeout=60)
    assert is_empty(tmp_path)


@pytest.mark.parametrize("url", ["videos", "s4://videos", "ftp://host/videos", ""])
def test_an_invalid_bucket_address_is_rejected_with_the_name_of_the_setting(url: str) -> None:
    with pytest.raises(BlobUrlError, match="CAKE_BLOB_URL"):
        check_blob_url(url)


@pytest.mark.parametrize(
    ("store_url", "blob_url", "is_warned"),
    [
        ("redis://127.0.0.1/0", None, True),
        ("redis+sentinel://127.0.0.1/0", None, True),
        ("redis://127.0.0.1/0", "s3://bucket", False),
        ("sqlite:///data/cake.db", None, False),
    ],
)
def test_a_shared_store_without_a_bucket_is_warned_about(store_url: str, blob_url: str | None, is_warned: bool) -> None:
    with capture_logs() as lines:
        warn_of_separate_folders(store_url, blob_url)
    assert ["CAKE_BLOB_URL" in line["event"] for line in lines] == [True] * is_warned


async def test_a_missing_bucket_is_reported_with_its_reason_and_without_secrets(
    bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    blobs = blobs_at(tmp_path, "s3://nowhere/cake")
    with pytest.raises(StoreUnavailableError):
        await blobs.check()
    for _ in range(3):
        with pytest.raises(StoreUnavailableError):
            await blobs.put_snapshot("a", b"jpeg")
    # Once a test of this process has configured logging, warnings no longer go to stdout.
    log = caplog.text or capsys.readouterr().out
    assert log.count("CAKE_BLOB_URL") <= 2
    assert "NoSuchBucket" in log or "404" in log
    assert bucket.environ["AWS_SECRET_ACCESS_KEY"] not in log.replace("secrets", "")


async def list_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as an empty bucket does."""
    await reader.readuntil(b"\r\n\r\n")
    listing = b"<ListBucketResult><Name>videos</Name><KeyCount>0</KeyCount></ListBucketResult>"
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(listing), listing))
    writer.close()


@pytest.fixture
async def private_bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Path]:
    """The certificate of a bucket that a private authority signed."""
    certificate = certificate_for("IP:127.0.0.1", tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    async with await asyncio.start_server(list_nothing, "127.0.0.1", 0, ssl=context) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "known")
        for name in ("AWS_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.delenv(name, raising=False)
        yield certificate


async def test_a_bucket_whose_certificate_is_not_trusted_is_reported_with_that_cause(
    private_bucket: Path, tmp_path: Path
) -> None:
    with capture_logs() as lines, pytest.raises(StoreUnavailableError):
        await blobs_at(tmp_path, "s3://videos/cake").check()
    assert "InvalidCertificate(UnknownIssuer" in lines[0]["reason"]


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "SSL_CERT_FILE"])
async def test_authorities_of_a_bucket_may_be_private(
    private_bucket: Path, variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, str(private_bucket))
    before = dict(os.environ)
    await blobs_at(tmp_path, "s3://videos/cake").check()
    assert os.environ == before, "only the bucket trusts them"


def test_a_list_of_authorities_that_is_missing_is_an_error_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere.pem")
    with pytest.raises(BlobUrlError, match=r"AWS_CA_BUNDLE names /nowhere\.pem"):
        check_blob_url("s3://videos/cake")


async def test_a_server_is_ready_once_its_bucket_is_there(bucket: Bucket, tmp_path: Path) -> None:
    async with running_server(tmp_path, blob_url="s3://nowhere/cake") as server:
        answer = await server.http.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    async with running_server(tmp_path, blob_url=bucket.url) as server:
        assert (await server.http.get("/readyz")).status_code == 200
        bucket.stop()
        assert (await server.http.get("/readyz")).status_code == 200
