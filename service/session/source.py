"""Opens and reopens one session's source, and keeps track of its media time."""

import random
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from model.video.info import VideoInfo
from service.decoder.process import DecodedFrame, Decoder, start_decoder
from service.decoder.protocol import DecodeRequest
from service.session.context import WorkerContext
from service.session.outcome import SourceFailure
from service.session.reconnect import (
    consecutive_failures,
    file_delay_s,
    live_delay_s,
    push_delay_s,
    zero_of_resumed_s,
)
from service.session.regions import regions_of
from service.sources.sources import openable
from service.store.records import SessionRecord


class SessionSource:
    """One session's source, as its worker sees it."""

    def __init__(self, record: SessionRecord, context: WorkerContext) -> None:
        self._record = record
        self._config = context.engine.config(record.model_key)
        self._settings, self._gate, self._blobs = context.settings, context.gate, context.blobs
        self._forks = context.forks
        self._decoder: Decoder | None = None
        self._is_halted = False
        self.is_live = record.video is not None and record.video.live
        """Whether it cannot be paused or rewound; known once it is open."""
        # Times on the monotonic clock: media time 0 of a live source, the newest frame of any source, the last
        # connection.
        self._zero_s: float | None = None
        self._newest_s = self._opened_s = time.monotonic()
        self._opened_after_s: float | None = None
        self._timestamp_s: float | None = None
        self._failures = 0

    @property
    def is_pushed(self) -> bool:
        """Whether a client sends the stream."""
        return self._record.source.kind == "push"

    @property
    def can_rewind(self) -> bool:
        """Whether missed frames can be read again."""
        return not (self.is_live or self.is_pushed)

    @property
    def is_realtime(self) -> bool:
        """Whether its frames arrive at the pace of the recording."""
        return self._record.pace == "realtime" or self.is_live

    @asynccontextmanager
    async def open(
        self, after_s: float | None, *, replay_until_s: float | None, clip_buffer_s: float = 0.0
    ) -> AsyncIterator[Decoder]:
        """A decoder of the source, which continues after `after_s` if it can. Waits for a pushed stream.

        Frames up to `replay_until_s` are only for the detector and are not paced. With `clip_buffer_s`, clips of the
        newest seconds can be ordered.

        Raises VideoError, SourceForbiddenError.
        """
        pushed = await self._next_push() if self.is_pushed else None
        self._opened_s, self._opened_after_s = time.monotonic(), replay_until_s
        request, policy = self._request(after_s, replay_until_s, clip_buffer_s), self._settings.address_policy
        async with start_decoder(request, policy, pushed, forks=self._forks) as self._decoder:
            if self._is_halted:
                self._decoder.kill()
            yield self._decoder

    def halt(self) -> None:
        """Close the open decoder, or cancel a waiting `open`; its user notices immediately. Idempotent."""
        self._is_halted = True
        self._gate.give_up(self._record.id)
        if self._decoder is not None:
            self._decoder.kill()

    def resume(self, position_s: float, started_at: datetime | None) -> None:
        """Continue the media time of a session that another worker started."""
        if self.is_live and started_at is not None:
            self._zero_s = zero_of_resumed_s(position_s, started_at, now_s=time.monotonic(), now=datetime.now(UTC))

    def opened(self, info: VideoInfo) -> None:
        """Note what the decoder found."""
        self.is_live = info.live

    def frame_arrived(self, frame: DecodedFrame) -> None:
        """Note that a frame arrived."""
        self._newest_s = time.monotonic()
        self._timestamp_s = frame.timestamp_s
        if self._zero_s is None and self.is_live:
            self._zero_s = self._newest_s - max(0.0, time.time() - frame.arrived_unix_s) - frame.pts_s

    def retry_delay_s(self, error: SourceFailure, *, position_s: float | None, has_worked: bool) -> float | None:
        """How long to wait before the source is opened again after it failed; None to give up."""
        self._failures = consecutive_failures(
            self._failures,
            lasted_s=time.monotonic() - self._opened_s,
            has_advanced=position_s != self._opened_after_s,
            is_live=self.is_live,
        )
        source = self._record.source
        if source.kind == "push":
            return push_delay_s(error, self._failures)
        if not self.is_live:
            return file_delay_s(error, self._failures, has_worked=has_worked and source.kind == "url")
        down_s = 0.0 if self._zero_s is None else time.monotonic() - self._zero_s - (position_s or 0.0)
        max_down_s = source.max_down_s if source.kind == "url" else None
        return live_delay_s(error, self._failures, down_s=down_s, max_down_s=max_down_s, chance=random.random())

    async def _next_push(self) -> socket.socket:
        assert self._record.source.kind == "push"
        wait_s = self._record.source.max_down_s or self._settings.push_wait_s
        if self._is_halted:
            wait_s = 0.0
        return await self._gate.next(self._record.id, wait_s - self._silent_s())

    def _silent_s(self) -> float:
        """How long ago the newest frame arrived."""
        return time.monotonic() - self._newest_s

    def _request(self, after_s: float | None, replay_until_s: float | None, clip_buffer_s: float) -> DecodeRequest:
        upload = self._blobs.upload_path(self._record.id, self._record.token)
        source = openable(self._record.source, upload, self._settings.address_policy, self._settings.authorities)
        starts_at_s = 0.0
        if source.address is None and self._record.pace == "fast" and after_s is not None:
            # Another pushed stream has its own timeline; it is placed after everything seen before.
            starts_at_s, after_s = after_s + max(1.0 / self._config.sample_hz, self._silent_s()), None
        return DecodeRequest(
            address=source.address,
            options=source.options,
            sample_hz=self._config.sample_hz,
            size=self._config.image_size,
            framing=self._config.framing,
            regions=regions_of(self._record),
            pace=self._record.pace,
            after_s=after_s,
            replay_until_s=replay_until_s,
            snapshot_hz=self._settings.snapshot_hz,
            timeout_s=self._settings.source_timeout_s,
            max_bytes=self._settings.decoder_max_bytes,
            max_cpu_s=self._settings.decoder_max_cpu_s,
            max_duration_s=self._settings.max_duration_s,
            zero_s=self._zero_s,
            starts_at_s=starts_at_s,
            time_zero=self._record.time_zero,
            live=self._record.source.live if self._record.source.kind == "url" else None,
            was_live=self.is_live and not self.is_pushed,
            seen_until_s=self._timestamp_s,
            stream=self._record.source.stream,
            clip_buffer_s=clip_buffer_s,
            clip_buffer_bytes=self._settings.clip_max_bytes,
            quiet=self._settings.quiet == "auto",
        )
