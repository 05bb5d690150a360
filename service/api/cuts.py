"""Cuts clips and stills out of uploads and stored clips. Clients take turns, and stills are stored."""

import asyncio
from datetime import UTC, datetime
from typing import Literal

import structlog

from model.video.errors import VideoError
from service.api.fair_places import FairPlaces
from service.api.missing_clip import missing_clip
from service.decoder.cut import Cut, cut
from service.decoder.cut_protocol import CutRequest
from service.decoder.messages import DecoderDiedError
from service.errors import InternalError, NotFoundError, NotPlayableError, ServiceError, TooLargeError
from service.event_schemas import ActionStartEvent
from service.setting_groups.clips import ClipSettings
from service.storage.blobs import Blobs
from service.storage.disk import Disk
from service.storage.stored_files import StoredClip, still_of_upload_name
from service.store.records import SessionRecord

MAX_AT_A_TIME, MAX_OF_ONE_CLIENT = 3, 2
MAX_CLIP_BYTES = 128 * 1024**2
_log = structlog.get_logger(__name__)
DAMAGED = "No clip can be cut here: the video is damaged at this time."


class Cuts:
    """Cuts for one server process. `disk` holds the files, and stills must leave room on it; a bucket has no disk."""

    def __init__(self, blobs: Blobs, settings: ClipSettings, disk: Disk | None = None) -> None:
        self._blobs, self._settings, self._disk = blobs, settings, disk
        # Each takes processor time, and holds its clip in memory.
        self._places = FairPlaces(MAX_AT_A_TIME, per_client=MAX_OF_ONE_CLIENT)

    async def stored_clip(self, record: SessionRecord, start: ActionStartEvent) -> StoredClip | None:
        """The clip of a start; None for an upload, which is cut instead.

        Raises NotFoundError, StoreUnavailableError.
        """
        if record.source.kind == "upload":
            return None
        clip = await self._blobs.find_clip(record.id, start.id)
        if clip is None:
            raise missing_clip(record, start, self._settings, datetime.now(UTC))
        return clip

    async def still(self, record: SessionRecord, start: ActionStartEvent, *, client: str) -> bytes:
        """The frame at which an action started, as JPEG; it is cut once. Raises what `cut` raises."""
        stored = await self.stored_clip(record, start)
        # A still must not outlive its clip.
        name = still_of_upload_name(record.id, start.id) if stored is None else stored.still_name
        jpeg = await self._blobs.still(name)
        if jpeg is None:
            jpeg = (await self.cut(record, stored, "still", start.start_s, start.start_s, client=client)).data
            await self._keep(name, jpeg)
        return jpeg

    async def _keep(self, name: str, jpeg: bytes) -> None:
        """Store a still for later requests. Without space for it, each request cuts it again."""
        try:
            if self._disk is not None:
                await asyncio.to_thread(self._disk.require_room, len(jpeg))
            await self._blobs.put_still(name, jpeg)
        except ServiceError as error:
            _log.warning("a still was not kept", error=error.detail)

    async def cut(
        self,
        record: SessionRecord,
        stored: StoredClip | None,
        kind: Literal["clip", "still"],
        from_s: float,
        to_s: float,
        *,
        client: str,
    ) -> Cut:
        """Cut a part out of a stored clip, or else out of the upload; times are those of the session.

        `client` is the one that asked for it. Raises NotFoundError, NotPlayableError, TooLargeError, RateLimitError,
        InternalError, StoreUnavailableError, StorageFullError.
        """
        async with self._places.place(client):
            if stored is None:
                async with self._blobs.upload_copy(record.id) as path:
                    return await _cut_file(
                        CutRequest(str(path), kind, max(0.0, from_s), to_s, record.source.stream, record.time_zero)
                    )
            async with self._blobs.clip_copy(stored) as path:
                begin_s = max(0.0, from_s - stored.from_s)
                found = await _cut_file(CutRequest(str(path), kind, begin_s, to_s - stored.from_s, None, "first_frame"))
            return Cut(found.data, stored.from_s + found.from_s)


async def _cut_file(request: CutRequest) -> Cut:
    """Raises NotFoundError, NotPlayableError, TooLargeError, InternalError."""
    try:
        return await cut(request, max_bytes=MAX_CLIP_BYTES)
    except VideoError as error:
        match error.code:
            case "limit_exceeded":
                raise TooLargeError(error.detail) from error
            case "decode_failed":
                raise NotFoundError(error.detail) from error
            case "internal":
                raise InternalError(error.detail) from error
        raise NotPlayableError(error.detail) from error
    except DecoderDiedError as error:
        raise NotPlayableError(DAMAGED) from error
