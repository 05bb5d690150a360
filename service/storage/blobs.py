"""Uploaded videos, snapshots and clips: in the data folder, or in a bucket that many machines share."""

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Self

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from service.errors import NotFoundError, StorageFullError, StoreUnavailableError
from service.sources.sources import redact

TIMEOUT_S = 30.0
"""For one request to the bucket; a large video takes many."""
CHUNK_BYTES = 8 * 1024**2
READ_BYTES = 1024**2
"""Of a video that is played: what a browser drops when the user seeks."""
UPLOADS, SNAPSHOTS, CLIPS = "uploads", "snapshots", "clips"
REPORT_EVERY_S = 60.0
MAX_REASON = 400
UPLOAD_GONE = "The uploaded video is gone. It may have been deleted from the server's storage."
CLIP_GONE = "The clip is gone: it was deleted because of its age, or of the space that clips may take."
_log = structlog.get_logger(__name__)


class BlobUrlError(ValueError):
    """CAKE_BLOB_URL is not the address of a bucket."""


@dataclass(frozen=True)
class StoredFile:
    """A file of a session: its upload, its snapshot, or a temporary copy of the upload."""

    name: str
    """Path below the data folder or below the bucket's prefix."""
    modified_at: datetime
    size_bytes: int
    is_local: bool
    """Whether it lies in the data folder of this machine although there is a bucket."""

    @property
    def session_id(self) -> str:
        """The session that the file, or its folder, is named after."""
        if self.name.startswith(f"{CLIPS}/"):
            return self.name.split("/")[1]
        return self.name.rpartition("/")[2].partition(".")[0]


@dataclass(frozen=True)
class StoredClip:
    """The clip of an event, by its place: `from_s` is the media time of its first frame."""

    session_id: str
    event_id: str
    from_s: float

    @property
    def name(self) -> str:
        """Path below the data folder or below the bucket's prefix."""
        return f"{_clips(self.session_id)}{self.event_id}.{round(self.from_s * 1000)}.mp4"

    @classmethod
    def of(cls, name: str) -> Self | None:
        """The clip with this path; None if it is no path of a clip."""
        found = re.fullmatch(rf"{CLIPS}/([^/]+)/([0-9]+-[0-9]+)\.([0-9]+)\.mp4", name)
        return None if found is None else cls(found[1], found[2], int(found[3]) / 1000)


def warn_of_separate_folders(store_url: str, blob_url: str | None) -> None:
    """Log a warning where servers and workers share a store but may not share the folder of uploads."""
    if blob_url is None and not store_url.startswith("sqlite"):
        _log.warning(
            "CAKE_STORE_URL is shared but CAKE_BLOB_URL is not set: workers on other machines, or with another"
            " CAKE_DATA_DIR, will not find uploads. Set CAKE_BLOB_URL to a bucket that all servers and workers reach."
        )


class Blobs:
    """Files named after sessions. A bucket's credentials and endpoint come from the usual variables (`AWS_…` for S3).

    The folder of uploads exists with a bucket too: it holds uploads that are being received, and the copies that
    decoders read.
    """

    def __init__(self, url: str | None, data_dir: Path) -> None:
        """Connects on first use.

        Args:
            url: `s3://BUCKET/PREFIX`, or None to use the data folder.
            data_dir: The data folder of this machine.

        Raises:
            BlobUrlError: The URL is not the address of a bucket.
        """
        self._uploads_dir = data_dir / UPLOADS
        self._is_remote = url is not None
        self._store: ObjectStore = LocalStore(data_dir.resolve(), mkdir=True) if url is None else _bucket(url)
        self._was_reachable = url is None
        self._reported: tuple[str, float] | None = None
        """Kind and time of the last failure in the log."""

    def prepare(self) -> None:
        """Create the folder of uploads. Blocks: for start-up only."""
        self._uploads_dir.mkdir(parents=True, exist_ok=True)

    async def check(self) -> None:
        """Check once that the bucket exists and can be listed; a folder needs no check.

        Raises:
            StoreUnavailableError: It cannot be listed. Later outages do not raise: they are temporary.
        """
        if self._was_reachable:
            return
        try:
            await obstore.list_with_delimiter_async(self._store, prefix="check/")
        except (BaseError, OSError) as error:
            raise self._unavailable(error) from error
        self._was_reachable = True

    def remove_incomplete(self) -> None:
        """Remove uploads that were being received when the last server of this folder was killed. Blocks."""
        for partial in self._uploads_dir.glob("*.part"):
            partial.unlink(missing_ok=True)

    def arriving_path(self, session_id: str) -> Path:
        """Where to write an upload while it is received, until `keep_upload`."""
        return self._uploads_dir / f"{session_id}.part"

    async def keep_upload(self, session_id: str) -> None:
        """Store the upload that was received at `arriving_path`. Raises StoreUnavailableError."""
        arrived = self.arriving_path(session_id)
        if not self._is_remote:
            await asyncio.to_thread(arrived.rename, self._uploads_dir / session_id)
            return
        try:
            await obstore.put_async(self._store, _upload(session_id), arrived, chunk_size=CHUNK_BYTES)
        except (BaseError, OSError) as error:
            raise self._unavailable(error) from error
        await asyncio.to_thread(arrived.unlink)

    def upload_path(self, session_id: str, token: int) -> Path:
        """Where the decoder reads the video after `fetch_upload`. `token` separates two claims of one session."""
        return self._uploads_dir / (f"{session_id}.{token}" if self._is_remote else session_id)

    async def fetch_upload(self, session_id: str, token: int) -> None:
        """Download the video to `upload_path`; in a folder it is there already.

        Raises FileNotFoundError, StoreUnavailableError, StorageFullError.
        """
        path = self.upload_path(session_id, token)
        if not self._is_remote:
            await asyncio.to_thread(path.stat)
            return
        try:
            with await asyncio.to_thread(path.open, "wb") as file:
                await self._read_into(file, _upload(session_id))
        except BaseException:
            # Also on cancellation, so it must not await.
            path.unlink(missing_ok=True)
            raise

    def upload_copy(self, session_id: str) -> AbstractAsyncContextManager[Path]:
        """The uploaded video as a file of this machine, for as long as the context lasts.

        Raises NotFoundError, StoreUnavailableError, StorageFullError.
        """
        return self._copy(_upload(session_id), session_id, UPLOAD_GONE)

    async def upload_bytes(self, session_id: str) -> int:
        """Size of the uploaded video. Raises NotFoundError, StoreUnavailableError."""
        try:
            return (await obstore.head_async(self._store, _upload(session_id)))["size"]
        except FileNotFoundError:
            raise NotFoundError(UPLOAD_GONE) from None
        except (BaseError, OSError) as error:
            raise self._unavailable(error) from error

    async def read_upload(self, session_id: str, first: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `first` to before `end` of the uploaded video, in parts, each with a request of its own.

        A reader may pause for longer than a request to the bucket may take. Raises StoreUnavailableError.
        """
        for start in range(first, end, READ_BYTES):
            try:
                part = await obstore.get_range_async(
                    self._store, _upload(session_id), start=start, end=min(end, start + READ_BYTES)
                )
            except (BaseError, OSError) as error:
                raise self._unavailable(error) from error
            yield bytes(part)

    def clip_copy(self, clip: StoredClip) -> AbstractAsyncContextManager[Path]:
        """A clip as a file of this machine, for as long as the context lasts.

        Raises NotFoundError, StoreUnavailableError, StorageFullError.
        """
        return self._copy(clip.name, clip.session_id, CLIP_GONE)

    @asynccontextmanager
    async def _copy(self, name: str, session_id: str, gone: str) -> AsyncIterator[Path]:
        if not self._is_remote:
            path = self._uploads_dir.parent / name
            if not await asyncio.to_thread(path.is_file):
                raise NotFoundError(gone)
            yield path
            return
        # Named so that it is removed at the next start, should this process be killed.
        path = self._uploads_dir / f"{session_id}.{uuid.uuid4().hex}.part"
        try:
            try:
                with await asyncio.to_thread(path.open, "wb") as file:
                    await self._read_into(file, name)
            except FileNotFoundError:
                raise NotFoundError(gone) from None
            yield path
        finally:
            path.unlink(missing_ok=True)

    async def _read_into(self, file: BinaryIO, name: str) -> None:
        try:
            found = await obstore.get_async(self._store, name)
            async for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
                await asyncio.to_thread(_write, file, chunk)
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as error:
            raise self._unavailable(error) from error

    def forget_upload(self, session_id: str, token: int) -> None:
        """Remove the copy that `fetch_upload` downloaded. Idempotent."""
        if self._is_remote:
            self.upload_path(session_id, token).unlink(missing_ok=True)

    async def put_snapshot(self, session_id: str, jpeg: bytes) -> None:
        """Replace the latest snapshot atomically. Raises StoreUnavailableError."""
        try:
            await obstore.put_async(self._store, _snapshot(session_id), jpeg, use_multipart=False)
        except (BaseError, OSError) as error:
            raise self._unavailable(error) from error

    async def snapshot(self, session_id: str) -> bytes | None:
        """The latest snapshot as JPEG. Raises StoreUnavailableError."""
        try:
            found = await obstore.get_async(self._store, _snapshot(session_id))
            return bytes(await found.bytes_async())
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise self._unavailable(error) from error

    async def put_clip(self, clip: StoredClip, mp4: bytes) -> None:
        """Store a clip. Raises StoreUnavailableError."""
        try:
            await obstore.put_async(self._store, clip.name, mp4)
        except (BaseError, OSError) as error:
            raise self._unavailable(error) from error

    async def find_clip(self, session_id: str, event_id: str) -> StoredClip | None:
        """The clip of an event. Raises StoreUnavailableError."""
        async for batch in self._list(_clips(session_id)):
            for file in batch:
                if (clip := StoredClip.of(file.name)) is not None and clip.event_id == event_id:
                    return clip
        return None

    async def read_clip(self, clip: StoredClip) -> bytes:
        """A clip as MP4. Raises NotFoundError, StoreUnavailableError."""
        try:
            found = await obstore.get_async(self._store, clip.name)
            return bytes(await found.bytes_async())
        except FileNotFoundError:
            raise NotFoundError(CLIP_GONE) from None
        except (BaseError, OSError) as error:
            raise self._unavailable(error) from error

    async def delete(self, session_id: str) -> None:
        """Delete the upload, the snapshot and the clips of a session. Idempotent. Raises StoreUnavailableError."""
        for name in (_upload(session_id), _snapshot(session_id)):
            await self._delete(name)
        async for clips in self._list(_clips(session_id)):
            for clip in clips:
                await self._delete(clip.name)

    async def files(self) -> AsyncIterator[list[StoredFile]]:
        """All files, in batches. Raises StoreUnavailableError."""
        for folder in (UPLOADS, SNAPSHOTS, CLIPS):
            async for batch in self._list(f"{folder}/"):
                yield batch
        if self._is_remote:
            yield await asyncio.to_thread(self._local_files)

    async def clips(self) -> AsyncIterator[list[StoredFile]]:
        """The clips of all sessions, in batches. Raises StoreUnavailableError."""
        async for batch in self._list(f"{CLIPS}/"):
            yield batch

    async def _list(self, prefix: str) -> AsyncIterator[list[StoredFile]]:
        try:
            async for batch in obstore.list(self._store, prefix=prefix):
                yield [StoredFile(meta["path"], meta["last_modified"], meta["size"], is_local=False) for meta in batch]
        except (BaseError, OSError) as error:
            raise self._unavailable(error) from error

    async def remove(self, file: StoredFile) -> None:
        """Delete one file that `files` returned. Idempotent. Raises StoreUnavailableError."""
        if not file.is_local:
            await self._delete(file.name)
            return
        try:
            await asyncio.to_thread((self._uploads_dir.parent / file.name).unlink, missing_ok=True)
        except OSError as error:
            raise self._unavailable(error) from error

    async def _delete(self, name: str) -> None:
        try:
            await obstore.delete_async(self._store, name)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise self._unavailable(error) from error
        if name.startswith(f"{CLIPS}/") and not self._is_remote:
            # The folder of the session, once it is empty.
            with suppress(OSError):
                await asyncio.to_thread((self._uploads_dir.parent / name).parent.rmdir)

    def _unavailable(self, error: Exception) -> StoreUnavailableError:
        """The error for callers. Its reason goes to the log, once a minute: it holds addresses."""
        reason = redact(str(error)).splitlines()[0][:MAX_REASON] if str(error) else type(error).__name__
        now_s = time.monotonic()
        if (
            self._reported is None
            or self._reported[0] != type(error).__name__
            or now_s - self._reported[1] >= REPORT_EVERY_S
        ):
            self._reported = (type(error).__name__, now_s)
            _log.warning("uploads and snapshots cannot be stored or read; check CAKE_BLOB_URL and AWS_…", reason=reason)
        return StoreUnavailableError("Uploads and snapshots are not available. Retry; the server's log has the reason.")

    def _local_files(self) -> list[StoredFile]:
        found: list[StoredFile] = []
        for path in self._uploads_dir.iterdir():
            # Workers and other requests delete files at the same time.
            with suppress(FileNotFoundError):
                status = path.stat()
                modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
                found.append(StoredFile(f"{UPLOADS}/{path.name}", modified_at, status.st_size, is_local=True))
        return found


def check_blob_url(url: str | None) -> None:
    """Raise BlobUrlError for a URL that `Blobs` would reject."""
    if url is not None:
        _bucket(url)


def _bucket(url: str) -> ObjectStore:
    try:
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
    except (BaseError, ValueError) as error:
        raise BlobUrlError("CAKE_BLOB_URL must look like s3://BUCKET/PREFIX.") from error


def _upload(session_id: str) -> str:
    return f"{UPLOADS}/{session_id}"


def _clips(session_id: str) -> str:
    return f"{CLIPS}/{session_id}/"


def _snapshot(session_id: str) -> str:
    return f"{SNAPSHOTS}/{session_id}.jpg"


def _write(file: BinaryIO, chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        raise StorageFullError(f"The worker has no space for the video ({error.strerror}). Free some space.") from error
