"""Files by name in a folder or a bucket. Failures are logged with their reason and raised as StoreUnavailableError, a
full disk as StorageFullError.
"""

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from service.errors import StorageFullError, StoreUnavailableError
from service.sources.sources import redact
from service.storage.stored_files import StoredFile

TIMEOUT_S = 30.0
"""For one request to the bucket; a large video takes many."""
CHUNK_BYTES = 8 * 1024**2
REPORT_EVERY_S = 60.0
MAX_REASON = 400
"""Length of each of its two parts."""
NO_SPACE = f"os error {errno.ENOSPC}"
"""Text by which obstore reports a full disk."""
DISK_FULL = "The server is out of disk space. Delete ended sessions, or free disk space."
_log = structlog.get_logger(__name__)


class BlobUrlError(ValueError):
    """CAKE_BLOB_URL is not the address of a bucket."""


class Objects:
    """Files of a folder or bucket, by their path in it.

    All methods raise StoreUnavailableError, and those that read raise FileNotFoundError.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._reported: tuple[str, float] | None = None
        """Kind and time of the last failure in the log."""

    @classmethod
    def of_folder(cls, folder: Path) -> "Objects":
        """The files of a folder, which is created."""
        return cls(LocalStore(folder.resolve(), mkdir=True))

    @classmethod
    def of_bucket(cls, url: str) -> "Objects":
        """The files below `s3://BUCKET/PREFIX`. Connects on first use. Raises BlobUrlError."""
        return cls(_bucket(url))

    async def check(self) -> None:
        """Check that the bucket exists and can be listed."""
        try:
            await obstore.list_with_delimiter_async(self._store, prefix="check/")
        except (BaseError, OSError) as error:
            raise self.unavailable(error) from error

    async def put(self, name: str, data: bytes | Path) -> None:
        """Write data, or the contents of a file of this machine, in place of the file. Atomic.

        Raises StorageFullError: the disk of a folder is full.
        """
        try:
            await obstore.put_async(self._store, name, data, chunk_size=CHUNK_BYTES)
        except (BaseError, OSError) as error:
            if isinstance(self._store, LocalStore) and NO_SPACE in str(error):
                raise StorageFullError(DISK_FULL) from error
            raise self.unavailable(error) from error

    async def read(self, name: str) -> bytes:
        """The whole file."""
        try:
            found = await obstore.get_async(self._store, name)
            return bytes(await found.bytes_async())
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as error:
            raise self.unavailable(error) from error

    async def read_part(self, name: str, first: int, end: int) -> bytes:
        """The bytes from `first` to before `end`. A missing file raises StoreUnavailableError here."""
        try:
            return bytes(await obstore.get_range_async(self._store, name, start=first, end=end))
        except (BaseError, OSError) as error:
            raise self.unavailable(error) from error

    async def size_bytes(self, name: str) -> int:
        """Size of the file."""
        try:
            return (await obstore.head_async(self._store, name))["size"]
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as error:
            raise self.unavailable(error) from error

    async def download(self, name: str, path: Path) -> None:
        """Copy the file to this machine. Raises StorageFullError; what it wrote so far stays."""
        with await asyncio.to_thread(path.open, "wb") as file:
            try:
                found = await obstore.get_async(self._store, name)
                async for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
                    await asyncio.to_thread(_write, file, chunk)
            except FileNotFoundError:
                raise
            except (BaseError, OSError) as error:
                raise self.unavailable(error) from error

    async def list(self, prefix: str) -> AsyncIterator[list[StoredFile]]:
        """All files whose path starts with `prefix`, in batches."""
        try:
            async for batch in obstore.list(self._store, prefix=prefix):
                yield [StoredFile(meta["path"], meta["last_modified"], meta["size"], is_local=False) for meta in batch]
        except (BaseError, OSError) as error:
            raise self.unavailable(error) from error

    async def delete(self, name: str) -> None:
        """Delete a file. Idempotent."""
        try:
            await obstore.delete_async(self._store, name)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise self.unavailable(error) from error

    def unavailable(self, error: Exception) -> StoreUnavailableError:
        """The error for callers. The reason contains addresses, so it goes only to the log, once a minute."""
        kind, now_s = type(error).__name__, time.monotonic()
        reason = _reason(error) or kind
        if self._reported is None or self._reported[0] != kind or now_s - self._reported[1] >= REPORT_EVERY_S:
            self._reported = (kind, now_s)
            _log.warning("uploads and snapshots cannot be stored or read; check CAKE_BLOB_URL and AWS_…", reason=reason)
        return StoreUnavailableError("Uploads and snapshots are not available. Retry; the server's log has the reason.")


def check_blob_url(url: str | None) -> None:
    """Raise BlobUrlError for a URL that is not the address of a bucket; None is the data folder."""
    if url is not None:
        _bucket(url)


@contextmanager
def _authorities_of_bucket() -> Iterator[None]:
    """Within the context, make new clients trust AWS_CA_BUNDLE, as Amazon's tools do. They only know SSL_CERT_FILE.

    Raises BlobUrlError.
    """
    bundle, others = os.environ.get("AWS_CA_BUNDLE"), os.environ.get("SSL_CERT_FILE")
    if not bundle:
        yield
        return
    if not Path(bundle).is_file():
        raise BlobUrlError(f"AWS_CA_BUNDLE names {bundle}, which is not a file. Correct it, or remove the variable.")
    os.environ["SSL_CERT_FILE"] = bundle
    try:
        yield
    finally:
        if others is None:
            del os.environ["SSL_CERT_FILE"]
        else:
            os.environ["SSL_CERT_FILE"] = others


def _bucket(url: str) -> ObjectStore:
    try:
        with _authorities_of_bucket():
            return _client(url)
    except BlobUrlError:
        raise
    except (BaseError, ValueError) as error:
        raise BlobUrlError("CAKE_BLOB_URL must look like s3://BUCKET/PREFIX.") from error


def _client(url: str) -> ObjectStore:
    return from_url(
        url,
        # The operator chose the endpoint, so one without TLS is allowed.
        client_options={
            "allow_http": True,
            "timeout": timedelta(seconds=TIMEOUT_S),
            "connect_timeout": timedelta(seconds=3),
        },
        retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=10)},
    )


def _reason(error: Exception) -> str:
    """The first line of obstore's message. If there was no connection, also the innermost cause in its debug output:
    only that tells that a certificate is not trusted.
    """
    message, _, debug = redact(str(error)).partition("\n")
    cause = debug.rpartition("source: ")[2] if "HttpError {" in debug else ""
    on_one_line = "".join(line.strip() for line in cause.splitlines()).rstrip("(){}, ")
    return ": ".join(part[:MAX_REASON] for part in (message, on_one_line) if part)


def _write(file: BinaryIO, chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        raise StorageFullError(f"The worker has no space for the video ({error.strerror}). Free some space.") from error
