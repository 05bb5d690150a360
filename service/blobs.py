"""Uploaded videos and snapshots: in the data folder, or in a bucket that servers and workers of many machines share."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from service.errors import StorageFull, StoreUnavailable

WITHIN_S = 30.0
"""For one request to the bucket; a large video is many."""
CHUNK_BYTES = 8 * 1024**2


class BlobUrlInvalid(ValueError):
    """CAKE_BLOB_URL names no bucket."""


class Blobs:
    """Named by session. A bucket's credentials and endpoint come from the usual variables (`AWS_…` for S3)."""

    def __init__(self, url: str | None, data_dir: Path) -> None:
        """`url`: `s3://BUCKET/PREFIX`, or None for the folder. Nothing is asked yet. Raises BlobUrlInvalid."""
        self._uploads = data_dir / "uploads"
        self._is_remote = url is not None
        self._store: ObjectStore = LocalStore(data_dir.resolve(), mkdir=True) if url is None else _bucket(url)

    async def keep_upload(self, session_id: str, arrived: Path) -> None:
        """Take over a file that lies in the folder of uploads. Raises StoreUnavailable."""
        if not self._is_remote:
            await asyncio.to_thread(arrived.rename, self._uploads / session_id)
            return
        try:
            await obstore.put_async(self._store, _upload(session_id), arrived, chunk_size=CHUNK_BYTES)
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error
        await asyncio.to_thread(arrived.unlink)

    def upload_path(self, session_id: str, token: int) -> Path:
        """Where a decoder finds the video once it is fetched. `token` sets two claims of one session apart."""
        return self._uploads / (f"{session_id}.{token}" if self._is_remote else session_id)

    async def fetch_upload(self, session_id: str, token: int) -> None:
        """Let the video be at `upload_path`, until it is forgotten: in a folder it lies there anyhow.

        Raises FileNotFoundError, StoreUnavailable, StorageFull.
        """
        if not self._is_remote:
            return
        path = self.upload_path(session_id, token)
        try:
            with await asyncio.to_thread(path.open, "wb") as file:
                await self._read_into(file, session_id)
        except BaseException:
            # Also when cancelled, so it must not await.
            path.unlink(missing_ok=True)
            raise

    async def _read_into(self, file: BinaryIO, session_id: str) -> None:
        try:
            found = await obstore.get_async(self._store, _upload(session_id))
            async for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
                await asyncio.to_thread(_write, file, chunk)
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    def forget_upload(self, session_id: str, token: int) -> None:
        """Remove what `fetch_upload` had to fetch. Idempotent."""
        if self._is_remote:
            self.upload_path(session_id, token).unlink(missing_ok=True)

    async def put_snapshot(self, session_id: str, jpeg: bytes) -> None:
        """Replace the latest picture, whole. Raises StoreUnavailable."""
        try:
            await obstore.put_async(self._store, _snapshot(session_id), jpeg, use_multipart=False)
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    async def snapshot(self, session_id: str) -> bytes | None:
        """Raises StoreUnavailable."""
        try:
            found = await obstore.get_async(self._store, _snapshot(session_id))
            return bytes(await found.bytes_async())
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    async def delete(self, session_id: str) -> None:
        """All that there is of a session. Idempotent. Raises StoreUnavailable."""
        for name in (_upload(session_id), _snapshot(session_id)):
            try:
                await obstore.delete_async(self._store, name)
            except FileNotFoundError:
                continue
            except (BaseError, OSError) as error:
                raise _unavailable(error) from error


def check_blob_url(url: str | None) -> None:
    """Raises BlobUrlInvalid."""
    if url is not None:
        _bucket(url)


def _bucket(url: str) -> ObjectStore:
    try:
        return from_url(
            url,
            # An endpoint without TLS is one that the operator named.
            client_options={
                "allow_http": True,
                "timeout": timedelta(seconds=WITHIN_S),
                "connect_timeout": timedelta(seconds=3),
            },
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=10)},
        )
    except (BaseError, ValueError) as error:
        raise BlobUrlInvalid("CAKE_BLOB_URL must look like s3://BUCKET/PREFIX.") from error


def _upload(session_id: str) -> str:
    return f"uploads/{session_id}"


def _snapshot(session_id: str) -> str:
    return f"snapshots/{session_id}.jpg"


def _write(file: BinaryIO, chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        raise StorageFull(f"The worker has no space for the video ({error.strerror}); free some.") from error


def _unavailable(error: Exception) -> StoreUnavailable:
    # What the libraries say holds addresses and headers: the first words are enough for people.
    return StoreUnavailable(f"Uploads and pictures cannot be stored or read now ({type(error).__name__}); try again.")
