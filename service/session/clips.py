"""Collects the clips of one session's actions from its decoder, and stores them in the background.

Events are published first, and analysis never waits for a clip. The parts that a decoder has sent are kept, even if the
decoder or its source ends before the rest.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog

from model.config import ModelConfig, StartRule
from service.decoder.clip_messages import ClipEnded, ClipPart
from service.decoder.messages import BUFFER_BYTES, PIPE_BYTES
from service.decoder.process import Decoder
from service.decoder.protocol import ClipOrder
from service.errors import ServiceError
from service.event_schemas import ActionStartEvent
from service.feedback import Feedback
from service.session.events import EventBuffer, Media
from service.settings import Settings
from service.storage.blobs import Blobs
from service.storage.disk import Disk
from service.storage.stored_files import StoredClip, label_digest
from service.store.records import SessionRecord

MAX_OPEN = 8
"""Number of clips that are collected at the same time; each takes up to CAKE_CLIP_MAX_BYTES of memory."""
MAX_OPEN_MISSED = 4
"""Number of them that may be of missed actions: reports must not take the place of events."""
CLOSE_WITHIN_S = 15.0
DECISION_S = 3.0
"""How long after the last frame that it needs a start may be decided; allows for batching and busy machines."""
LATE_S = 0.5
"""A clip that begins this much later than requested is incomplete; frame intervals and rounding explain less."""
LATE = "The clip begins late: the stream was interrupted, or its bit rate is too high for the decoder's buffer."
CUT_SHORT = "The clip ends early: the source was interrupted or ended, or the server was restarted."
TOO_LARGE = "The clip ends early: it would be larger than CAKE_CLIP_MAX_BYTES."
NOT_NAMED = "The setting CAKE_CLIPS does not name this action, so its clips are not kept."
NO_STREAM = (
    "Nothing of the stream is in memory: the source is not connected, or had no actions with clips when it was opened."
)
AHEAD = "The action starts later than the newest frame."
TOO_MANY = "Too many clips of this session are being stored. Report the action again in some seconds."
GONE = (
    "The start of the action is no longer in memory: what is left begins {:.1f} s after it. CAKE_CLIP_MISSED_S sets how"
    " much is kept."
)
NOT_STORED = "Some clips could not be stored; the analysis continued. {}"
_log = structlog.get_logger(__name__)


def clip_buffer_s(
    settings: Settings, record: SessionRecord, config: ModelConfig, rules: Iterable[StartRule], *, is_realtime: bool
) -> float:
    """How many seconds of its stream a session's decoder must keep for clips; 0 for none."""
    is_kept = record.source.kind == "upload"
    if is_kept or not any(settings.keeps_clips_of(label) for label in record.labels):
        return 0.0
    decided_after_s = max((rule.min_duration_s for rule in rules), default=0.0)
    kept_s = max(settings.clip_before_s + decided_after_s + DECISION_S, settings.clip_missed_s)
    # A decoder of any other source is ahead of the detector by as many frames as fit between them.
    frame_bytes = 3 * config.image_size**2 * record.streams
    ahead_s = 0.0 if is_realtime else (PIPE_BYTES + BUFFER_BYTES) / frame_bytes / config.sample_hz
    return kept_s + ahead_s


@dataclass
class _Clip:
    """A clip that is being collected, of a start or of a missed action.

    `begun` gets why there will be no clip of a missed action, or None once the clip has begun.
    """

    action: ActionStartEvent | Feedback
    order: ClipOrder
    begun: asyncio.Future[str | None] | None = None
    from_s: float | None = None
    to_s: float = 0.0
    data: bytearray = field(default_factory=bytearray)


class SessionClips:
    """The clips of one session."""

    def __init__(self, record: SessionRecord, blobs: Blobs, settings: Settings, events: EventBuffer) -> None:
        self._session_id = record.id
        self._blobs, self._settings, self._events = blobs, settings, events
        # A bucket has no low-water mark.
        self._disk = None if settings.blob_url else Disk(settings.data_dir, settings.min_free_bytes)
        self._decoder: Decoder | None = None
        self._number = 0
        self._open: dict[int, _Clip] = {}
        self._storing: set[asyncio.Task[None]] = set()
        self.warnings: tuple[str, ...] = ()
        """What went wrong, for people."""

    @asynccontextmanager
    async def of_decoder(self, decoder: Decoder, *, has_buffer: bool) -> AsyncIterator[None]:
        """Collect from this decoder; at the end of the context, incomplete clips are stored as they are.

        A decoder without a buffer has no clips, because none of the session's labels had any when it was started.
        """
        self._decoder = decoder if has_buffer else None
        try:
            yield
        finally:
            self._decoder = None
            for number in list(self._open):
                self._finish(number, CUT_SHORT)

    def order(self, starts: Iterable[ActionStartEvent]) -> None:
        """Have the decoder send clips of actions that have just started."""
        for start in starts:
            if self._decoder is None or not self._settings.keeps_clips_of(start.label):
                continue
            if len(self._open) >= MAX_OPEN:
                _log.warning("clip skipped: too many at a time", session=self._session_id, event_id=start.id)
                continue
            self._order(self._decoder, start)

    async def order_missed(self, missed: Feedback) -> str | None:
        """Have the decoder send the clip of an action that a person has just reported as missed.

        Returns why there will be none, a sentence for people, or None once the clip has begun. No event announces it.
        """
        if not self._settings.keeps_clips_of(missed.label):
            return NOT_NAMED
        if self._decoder is None:
            return NO_STREAM
        if missed.start_s > self._events.record.position_s + self._settings.clip_after_s:
            return AHEAD
        of_missed = sum(clip.begun is not None for clip in self._open.values())
        if of_missed >= MAX_OPEN_MISSED or len(self._open) >= MAX_OPEN:
            return TOO_MANY
        begun: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._order(self._decoder, missed, begun)
        return await begun

    def _order(
        self,
        decoder: Decoder,
        action: ActionStartEvent | Feedback,
        begun: asyncio.Future[str | None] | None = None,
    ) -> None:
        self._number += 1
        from_s = max(0.0, action.start_s - self._settings.clip_before_s)
        order = ClipOrder(self._number, from_s, action.start_s + self._settings.clip_after_s)
        self._open[order.number] = _Clip(action, order, begun)
        decoder.order_clip(order)

    def take(self, message: ClipPart | ClipEnded) -> None:
        """Process what the decoder has sent."""
        clip = self._open.get(message.number)
        if clip is None:
            return
        if isinstance(message, ClipEnded):
            clip.to_s = message.to_s
            if message.problem is not None:
                self._drop(message.number, message.problem)
                return
            self._finish(message.number, None if message.to_s >= clip.order.to_s else CUT_SHORT)
            return
        if message.from_s is not None:
            self._begin(clip, message.from_s)
        elif len(clip.data) + len(message.data) > self._settings.clip_max_bytes:
            self._finish(message.number, TOO_LARGE)
        else:
            clip.data += message.data

    def _begin(self, clip: _Clip, from_s: float) -> None:
        clip.from_s = from_s
        if clip.begun is None:
            return
        late_s = from_s - clip.action.start_s
        if late_s > 0:
            self._drop(clip.order.number, GONE.format(late_s))
        elif not clip.begun.done():
            clip.begun.set_result(None)

    def _drop(self, number: int, problem: str) -> None:
        """There is no such clip. What the decoder still sends of it is ignored."""
        clip = self._open.pop(number)
        _log.warning("no clip", session=self._session_id, event_id=clip.action.id, problem=problem)
        if clip.begun is not None and not clip.begun.done():
            clip.begun.set_result(problem)

    async def close(self) -> None:
        """Wait until all clips are stored or have failed, for at most CLOSE_WITHIN_S. Idempotent."""
        if not self._storing:
            return
        _, late = await asyncio.wait(self._storing, timeout=CLOSE_WITHIN_S)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    def _finish(self, number: int, problem: str | None) -> None:
        clip = self._open[number]
        if clip.from_s is None or not clip.data:
            self._drop(number, problem or CUT_SHORT)
            return
        del self._open[number]
        if problem is None and clip.from_s > clip.order.from_s + LATE_S:
            problem = LATE
        stored = StoredClip(self._session_id, clip.action.id, clip.from_s, label_digest(clip.action.label))
        # If the decoder has not said so, it is not known which frame arrived last.
        to_s = clip.to_s or max(clip.from_s, min(clip.order.to_s, self._events.record.position_s))
        media = None
        if isinstance(clip.action, ActionStartEvent):
            media = Media(clip.action, clip.from_s, to_s, len(clip.data), problem)
        task = asyncio.create_task(self._store(stored, bytes(clip.data), media))
        self._storing.add(task)
        task.add_done_callback(self._storing.discard)

    async def _store(self, stored: StoredClip, mp4: bytes, media: Media | None) -> None:
        try:
            if self._disk is not None:
                await asyncio.to_thread(self._disk.require_room, len(mp4))
            await self._blobs.put_clip(stored, mp4)
        except ServiceError as error:
            _log.warning("clip not stored", session=self._session_id, event_id=stored.event_id, error=error.detail)
            if not self.warnings:
                self.warnings = (NOT_STORED.format(error.detail),)
                self._events.update(warnings=(*self._events.record.warnings, *self.warnings))
        except Exception:
            # A bug costs only this clip.
            _log.exception("clip not stored", session=self._session_id, event_id=stored.event_id)
        else:
            if media is not None:
                self._events.add_media(media)
