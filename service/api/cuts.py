"""Cuts clips and stills out of uploads and stored clips. Clients take turns, and stills are stored."""

import asyncio
from typing import Literal

import structlog

from model.video.errors import VideoError
from service.api.fair_places import FairPlaces
from service.decoder.cut import Cut, cut
from service.decoder.cut_protocol import CutRequest
from service.decoder.messages import DecoderDiedError
from service.errors import InternalError, NotFoundError, NotPlayableError, ServiceError, TooLargeError
from service.event_schemas import ActionStartEvent
from service.storage.blobs import Blobs
from service.storage.disk import Disk
from service.storage.stored_files import StoredClip, still_of_upload_name
from service.store.records import SessionRecord

MAX_AT_A_TIME, MAX_OF_ONE_CLIENT = 3, 2
MAX_CLIP_BYTES = 128 * 1024**2
NO_CLIP = (
    "There is no clip of this event. Uploaded videos always have clips; for other sources, the operator must list the"
    " action in CAKE_CLIPS before it starts. Clips are deleted by age and total size."
)
_log = structlog.get_logger(__name__)
DAMAGED = "No clip can be cut here: the video is damaged at this time."


class Cuts:
    """Cuts for one server process. `disk` holds the files, and stills must leave room on it; a bucket has no disk."""

    def __init__(self, blobs: Blobs, disk: Disk | None = None) -> None:
        self._blobs, self._disk = blobs, disk
        # Each takes processor time, and holds its clip in memory.
        self._places = FairPlaces(MAX_AT_A_TIME, per_client=MAX_OF_ONE_CLIENT)

    async def stored_clip(self, session_id: str, event_id: str) -> StoredClip:
        """The clip of a start. Raises NotFoundError, StoreUnavailableError."""
        clip = await self._blobs.find_clip(session_id, event_id)
        if clip is None:
            raise NotFoundError(NO_CLIP)
        return clip

    async def still(self, record: SessionRecord, start: ActionStartEvent, *, client: str) -> bytes:
        """The frame at which an action started, as JPEG; it is cut once. Raises what `cut` raises."""
        if record.source.kind == "upload":
            name = still_of_upload_name(record.id, start.id)
        else:
            # A still must not outlive its clip.
            name = (await self.stored_clip(record.id, start.id)).still_name
        jpeg = await self._blobs.still(name)
        if jpeg is None:
            jpeg = (await self.cut(record, start.id, "still", start.start_s, start.start_s, client=client)).data
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
        start_id: str,
        kind: Literal["clip", "still"],
        from_s: float,
        to_s: float,
        *,
        client: str,
    ) -> Cut:
        """Cut a part out of the upload, or out of the stored clip of a start; times are those of the session.

        `client` is the one that asked for it. Raises NotFoundError, NotPlayableError, TooLargeError, RateLimitError,
        InternalError, StoreUnavailableError, StorageFullError.
        """
        async with self._places.place(client):
            if record.source.kind == "upload":
                async with self._blobs.upload_copy(record.id) as path:
                    return await _cut_file(
                        CutRequest(str(path), kind, max(0.0, from_s), to_s, record.source.stream, record.time_zero)
                    )
            stored = await self.stored_clip(record.id, start_id)
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
