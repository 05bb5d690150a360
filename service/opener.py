"""Opens a session's source, again whenever it has failed, and knows at which media time it then is."""

import random
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from model.config import ModelConfig
from service.blobs import Blobs
from service.decode_messages import DecodeRequest
from service.decoder_process import DecodedFrame, Decoder, start_decoder
from service.outcome import SourceFailure
from service.push.gate import PushGate
from service.reconnect import file_delay_s, live_delay_s, push_delay_s, zero_of_resumed_s
from service.settings import Settings
from service.sources import openable
from service.store.base import SessionRecord


class SourceOpener:
    """Of one session, as its worker sees it."""

    def __init__(
        self, record: SessionRecord, config: ModelConfig, settings: Settings, gate: PushGate, blobs: Blobs
    ) -> None:
        self._record = record
        self._config = config
        self._settings = settings
        self._gate = gate
        self._blobs = blobs
        self._decoder: Decoder | None = None
        self._is_halted = False
        # The moment that is media time 0 of a live source, and that of the newest frame of any.
        self._zero_s: float | None = None
        self._newest_s = time.monotonic()

    @asynccontextmanager
    async def open(self, after_s: float | None, *, told_s: float | None) -> AsyncIterator[Decoder]:
        """A decoder of the source, which goes on behind `after_s` if it can; a pushed one is waited for.

        What comes up to `told_s` is for the detector alone: it comes as fast as it can.

        Raises VideoError, SourceForbidden.
        """
        pushed = await self._next_push() if self._record.source.kind == "push" else None
        policy = self._settings.address_policy
        async with start_decoder(self._request(after_s, told_s), policy, pushed) as self._decoder:
            if self._is_halted:
                self._decoder.kill()
            yield self._decoder

    def halt(self) -> None:
        """End what is open, and whatever `open` waits for: whoever reads from it sees that at once. Idempotent."""
        self._is_halted = True
        self._gate.give_up(self._record.id)
        if self._decoder is not None:
            self._decoder.kill()

    def resume_live(self, position_s: float, started_at: datetime) -> None:
        """Go on with the media time of a live session that another worker began."""
        self._zero_s = zero_of_resumed_s(position_s, started_at, now_s=time.monotonic(), now=datetime.now(UTC))

    def note(self, frame: DecodedFrame, *, is_live: bool) -> None:
        """A frame has come."""
        self._newest_s = time.monotonic()
        if self._zero_s is None and is_live:
            self._zero_s = self._newest_s - max(0.0, time.time() - frame.arrived_unix_s) - frame.pts_s

    def delay_s(
        self, error: SourceFailure, failures: int, *, is_live: bool, has_worked: bool, position_s: float
    ) -> float | None:
        """How long to wait before the source is opened again, after so many failures in a row; None to give up."""
        source = self._record.source
        if source.kind == "push":
            return push_delay_s(error, failures)
        if not is_live:
            return file_delay_s(error, failures, has_worked=has_worked and source.kind == "url")
        down_s = 0.0 if self._zero_s is None else time.monotonic() - self._zero_s - position_s
        max_down_s = source.max_down_s if source.kind == "url" else None
        return live_delay_s(error, failures, down_s=down_s, max_down_s=max_down_s, chance=random.random())

    async def _next_push(self) -> socket.socket:
        assert self._record.source.kind == "push"
        wait_s = self._record.source.max_down_s or self._settings.push_wait_s
        if self._is_halted:
            wait_s = 0.0
        return await self._gate.next(self._record.id, wait_s - self._away_s())

    def _away_s(self) -> float:
        """How long no frame has come."""
        return time.monotonic() - self._newest_s

    def _request(self, after_s: float | None, told_s: float | None) -> DecodeRequest:
        upload = self._blobs.upload_path(self._record.id, self._record.token)
        source = openable(self._record.source, upload, self._settings.address_policy, self._settings.authorities)
        starts_at_s = 0.0
        if source.address is None and self._record.pace == "fast" and after_s is not None:
            # Another stream: it has a timeline of its own, behind all that was seen before.
            starts_at_s, after_s = after_s + max(1.0 / self._config.sample_hz, self._away_s()), None
        return DecodeRequest(
            address=source.address,
            options=source.options,
            sample_hz=self._config.sample_hz,
            size=self._config.image_size,
            pace=self._record.pace,
            after_s=after_s,
            told_s=told_s,
            snapshot_hz=self._settings.snapshot_hz,
            timeout_s=self._settings.source_timeout_s,
            max_bytes=self._settings.decoder_max_bytes,
            max_cpu_s=self._settings.decoder_max_cpu_s,
            max_duration_s=self._settings.max_duration_s,
            zero_s=self._zero_s,
            starts_at_s=starts_at_s,
        )
