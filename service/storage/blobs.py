"""Uploaded videos, snapshots, clips and models: in the data folder, or in a bucket that many machines share."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import structlog

from service.errors import NotFoundError
from service.storage.model_files import ModelFiles
from service.storage.objects import Objects
from service.storage.stored_files import (
    CLIPS,
    SNAPSHOTS,
    UPLOADS,
    StoredClip,
    StoredFile,
    clips_folder,
    snapshot_name,
    upload_name,
)

READ_BYTES = 1024**2
"""Size of the parts of a video that is played; a browser drops the rest of a part when the user seeks."""
UNFINISHED = "#[0-9]*"
"""End of the names under which obstore writes a file of a folder until it is complete."""
UPLOAD_GONE = "The uploaded video no longer exists. It may have been deleted from the server's storage."
CLIP_GONE = "The clip no longer exists: it was deleted because of its age, or because clips took too much space."
_log = structlog.get_logger(__name__)


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
        self._objects = Objects.of_folder(data_dir) if url is None else Objects.of_bucket(url)
        self._was_reachable = url is None
        self.models = ModelFiles(self._objects, None if self._is_remote else data_dir)
        """The files of uploaded models."""

    def prepare(self) -> None:
        """Create the folder of uploads. Blocks: for start-up only."""
        self._uploads_dir.mkdir(parents=True, exist_ok=True)

    async def check(self) -> None:
        """Check once that the bucket exists and can be listed; a folder needs no check.

        Raises:
            StoreUnavailableError: It cannot be listed. Later outages do not raise: they are temporary.
        """
        if not self._was_reachable:
            await self._objects.check()
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
        await self._objects.put(upload_name(session_id), arrived)
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
            await self._objects.download(upload_name(session_id), path)
        except BaseException:
            # Also on cancellation, so it must not await.
            path.unlink(missing_ok=True)
            raise

    def forget_upload(self, session_id: str, token: int) -> None:
        """Remove the copy that `fetch_upload` downloaded. Idempotent."""
        if self._is_remote:
            self.upload_path(session_id, token).unlink(missing_ok=True)

    def upload_copy(self, session_id: str) -> AbstractAsyncContextManager[Path]:
        """The uploaded video as a file of this machine, for as long as the context lasts.

        Raises NotFoundError, StoreUnavailableError, StorageFullError.
        """
        return self._copy(upload_name(session_id), session_id, UPLOAD_GONE)

    async def upload_bytes(self, session_id: str) -> int:
        """Size of the uploaded video. Raises NotFoundError, StoreUnavailableError."""
        try:
            return await self._objects.size_bytes(upload_name(session_id))
        except FileNotFoundError:
            raise NotFoundError(UPLOAD_GONE) from None

    async def read_upload(self, session_id: str, first: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `first` to before `end` of the uploaded video, in parts, one request for each.

        A reader may pause for longer than a request to the bucket may take. Raises StoreUnavailableError.
        """
        for start in range(first, end, READ_BYTES):
            yield await self._objects.read_part(upload_name(session_id), start, min(end, start + READ_BYTES))

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
        # Its name makes the next start remove it if this process is killed.
        path = self._uploads_dir / f"{session_id}.{uuid.uuid4().hex}.part"
        try:
            try:
                await self._objects.download(name, path)
            except FileNotFoundError:
                raise NotFoundError(gone) from None
            yield path
        finally:
            path.unlink(missing_ok=True)

    async def put_snapshot(self, session_id: str, jpeg: bytes) -> None:
        """Replace the latest snapshot atomically. Raises StoreUnavailableError, StorageFullError."""
        await self._objects.put(snapshot_name(session_id), jpeg)

    async def snapshot(self, session_id: str) -> bytes | None:
        """The latest snapshot as JPEG. Raises StoreUnavailableError."""
        try:
            return await self._objects.read(snapshot_name(session_id))
        except FileNotFoundError:
            return None

    async def put_clip(self, clip: StoredClip, mp4: bytes) -> None:
        """Store a clip. Raises StoreUnavailableError, StorageFullError."""
        await self._objects.put(clip.name, mp4)

    async def find_clip(self, session_id: str, event_id: str) -> StoredClip | None:
        """The clip of an event. Raises StoreUnavailableError."""
        async for batch in self._objects.list(clips_folder(session_id)):
            for file in batch:
                if (clip := StoredClip.of(file.name)) is not None and clip.event_id == event_id:
                    return clip
        return None

    async def delete_clip(self, session_id: str, event_id: str) -> None:
        """Delete the clip of an event or missed action, and its still. Idempotent. Raises StoreUnavailableError."""
        if (clip := await self.find_clip(session_id, event_id)) is not None:
            for name in (clip.name, clip.still_name):
                await self._delete(name)

    async def read_clip(self, clip: StoredClip) -> bytes:
        """A clip as MP4. Raises NotFoundError, StoreUnavailableError."""
        try:
            return await self._objects.read(clip.name)
        except FileNotFoundError:
            raise NotFoundError(CLIP_GONE) from None

    async def put_still(self, name: str, jpeg: bytes) -> None:
        """Store a still with the clips of its session. Raises StoreUnavailableError, StorageFullError."""
        await self._objects.put(name, jpeg)

    async def still(self, name: str) -> bytes | None:
        """A still as JPEG, if it was kept. Raises StoreUnavailableError."""
        try:
            return await self._objects.read(name)
        except FileNotFoundError:
            return None

    async def delete(self, session_id: str) -> None:
        """Delete the upload, the snapshot, the clips and the stills of a session. Idempotent.

        Raises StoreUnavailableError.
        """
        for name in (upload_name(session_id), snapshot_name(session_id)):
            await self._delete(name)
        async for clips in self._objects.list(clips_folder(session_id)):
            for clip in clips:
                await self._delete(clip.name)
        if not self._is_remote:
            await self._delete_unfinished(session_id)

    async def files(self) -> AsyncIterator[list[StoredFile]]:
        """All files, in batches. Raises StoreUnavailableError."""
        for folder in (UPLOADS, SNAPSHOTS, CLIPS):
            async for batch in self._objects.list(f"{folder}/"):
                yield batch
        yield await asyncio.to_thread(self._local_files)

    async def clips(self) -> AsyncIterator[list[StoredFile]]:
        """The clips and stills of all sessions, in batches. Raises StoreUnavailableError."""
        async for batch in self._objects.list(f"{CLIPS}/"):
            yield batch

    async def remove(self, file: StoredFile) -> None:
        """Delete one file that `files` returned. Idempotent. Raises StoreUnavailableError."""
        if not file.is_local:
            await self._delete(file.name)
            return
        try:
            await asyncio.to_thread((self._uploads_dir.parent / file.name).unlink, missing_ok=True)
        except OSError as error:
            raise self._objects.unavailable(error) from error

    async def _delete(self, name: str) -> None:
        await self._objects.delete(name)
        if name.startswith(f"{CLIPS}/") and not self._is_remote:
            # The folder of the session, once it is empty.
            with suppress(OSError):
                await asyncio.to_thread((self._uploads_dir.parent / name).parent.rmdir)

    async def _delete_unfinished(self, session_id: str) -> None:
        try:
            for path in await asyncio.to_thread(self._unfinished, session_id):
                await asyncio.to_thread(path.unlink, missing_ok=True)
        except OSError as error:
            raise self._objects.unavailable(error) from error
        with suppress(OSError):
            await asyncio.to_thread((self._uploads_dir.parent / clips_folder(session_id)).rmdir)

    def _unfinished(self, session_id: str) -> list[Path]:
        """What a process that was killed left in the folder while it wrote: obstore does not list such files."""
        data_dir = self._uploads_dir.parent
        return [
            *data_dir.glob(f"{snapshot_name(session_id)}{UNFINISHED}"),
            *data_dir.glob(f"{clips_folder(session_id)}*{UNFINISHED}"),
        ]

    def _local_files(self) -> list[StoredFile]:
        """Files that the bucket's or the folder's listing does not contain."""
        data_dir, found = self._uploads_dir.parent, []
        for path in self._uploads_dir.iterdir() if self._is_remote else self._unfinished("*"):
            # Workers and other requests delete files at the same time.
            with suppress(FileNotFoundError):
                status = path.stat()
                modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
                found.append(StoredFile(str(path.relative_to(data_dir)), modified_at, status.st_size, is_local=True))
        return found
