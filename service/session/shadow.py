"""The shadow version of a session's model: it analyses the same frames; its starts are stored, never published."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog

from model.config import BACKGROUND
from model.thresholds import ActionStart
from service.decoder.process import DecodedFrame
from service.errors import ServiceError
from service.event_schemas import ActionStartEvent
from service.session.context import WorkerContext
from service.session.detection import Decided, Detection
from service.session.engine import Engine
from service.store.records import SessionRecord
from service.store.shadow_records import FollowedSpan, ShadowStart

WARM_UP_S = 2.0
"""Starts of either version this soon after the shadow began do not count, because the shadow has not settled yet."""
WRITE_EVERY_S = 1.0
MAX_WAITING_FRAMES = 16
MAX_PENDING = 500
"""The most starts that wait for the store; if more accumulate while it is unavailable, following ends."""
MAX_KEPT = 2000
"""The most starts and spans that are kept for one session; after that, it is no longer followed."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Target:
    """What is followed: a version, with one revision of the session's settings."""

    key: str
    revision: int


class SessionShadow:
    """Follows one session with the shadow version that the worker chooses. It never delays or fails the session."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._key: str | None = None
        self._run: _Run | None = None
        self._over: _Target | None = None
        """A target that failed or has enough results; it is not followed again."""

    def follow(self, key: str | None) -> None:
        """Follow with the uploaded version that has this key from the next frame on; None to stop following."""
        self._key = key
        if self._run is not None and self._run.target.key != key:
            self._run.cancel()

    def restart(self) -> None:
        """Begin a new span with the next frame, because the source was unavailable."""
        if self._run is not None:
            self._run.cancel()

    def push(self, record: SessionRecord, frame: DecodedFrame, starts: Sequence[ActionStartEvent]) -> None:
        """Take a frame that the session analysed, and the starts that it published. Never waits."""
        wanted = None if self._key is None else _Target(self._key, record.revision)
        if self._run is not None and self._run.target != wanted:
            self._run.cancel()
        if self._run is not None and self._run.is_done:
            self._over = self._run.target if self._run.is_over else self._over
            self._run = None
        if self._run is None and wanted is not None and wanted != self._over:
            shadow = shadow_record(self._context.engine, record, wanted.key)
            self._run = None if shadow is None else _Run(self._context, shadow, wanted, frame.pts_s)
        if self._run is not None and self._run.target == wanted:
            self._run.offer(frame, starts)

    async def close(self) -> None:
        """Stop following, and store what was found. Idempotent."""
        run, self._run = self._run, None
        if run is not None:
            run.cancel()
            await run.ended()


def shadow_record(engine: Engine, record: SessionRecord, key: str) -> SessionRecord | None:
    """The session as the version with this key would run it; None if it cannot analyse frames or reports nothing."""
    if key == record.model_key or not engine.has(key):
        return None
    served, config = engine.config(record.model_key), engine.config(key)
    if (served.sample_hz, served.image_size, served.framing) != (config.sample_hz, config.image_size, config.framing):
        return None
    reports_all = set(record.labels) >= set(served.labels) - {BACKGROUND}
    labels = tuple(label for label in config.labels if label != BACKGROUND and (reports_all or label in record.labels))
    if not labels:
        return None
    changes = {
        "model_version": engine.version(key),
        "is_version_pinned": True,
        "labels": labels,
        "columns": (),
        "rules": {label: rule for label, rule in record.rules.items() if label in labels},
    }
    return record.model_copy(update=changes)


class _Run:
    """One task that analyses the frames offered to it, until it is cancelled, fails or has kept enough."""

    def __init__(self, context: WorkerContext, record: SessionRecord, target: _Target, first_s: float) -> None:
        self.target = target
        self.is_over = False
        self._context = context
        self._record = record
        self._span = FollowedSpan(from_s=first_s + WARM_UP_S, to_s=first_s)
        self._frames: asyncio.Queue[DecodedFrame] = asyncio.Queue(MAX_WAITING_FRAMES)
        self._has_missed = False
        """Whether the most recent frame was not taken."""
        self._pending: list[ShadowStart] = []
        self._written_s = time.monotonic()
        self._task = asyncio.create_task(self._follow())

    @property
    def is_done(self) -> bool:
        return self._task.done()

    def cancel(self) -> None:
        self._task.cancel()

    async def ended(self) -> None:
        """Return once it has stopped; errors have been logged."""
        await asyncio.wait([self._task])

    def offer(self, frame: DecodedFrame, starts: Iterable[ActionStartEvent]) -> None:
        """Take a frame, unless too many are waiting, and the starts that the serving version found in it."""
        try:
            self._frames.put_nowait(replace(frame, is_unchanged=frame.is_unchanged and not self._has_missed))
            self._has_missed = False
        except asyncio.QueueFull:
            self._has_missed = True
            self._span = self._span.model_copy(update={"missed_frames": self._span.missed_frames + 1})
        for start in starts:
            if start.start_s >= self._span.from_s:
                self._pending.append(
                    ShadowStart(
                        found_by="serving",
                        label=start.label,
                        region=start.region,
                        start_s=start.start_s,
                        score=start.score,
                        time=start.time,
                        event_id=start.id,
                    )
                )

    async def _follow(self) -> None:
        detection: Detection | None = None
        try:
            detection = await Detection.begin(self._context.engine, self._record)
            while not self.is_over:
                frame = await self._frames.get()
                results = await detection.push(frame)
                self._span = self._span.model_copy(update={"to_s": frame.pts_s})
                for result in results:
                    self._note((*result.ended_by_gap, *result.decided))
                if time.monotonic() - self._written_s >= WRITE_EVERY_S:
                    await self._write()
        except Exception:
            # A bug in this code or in the model ends the following, not the session.
            self.is_over = True
            _log.exception("shadow stopped", session=self._record.id, model=self.target.key)
            self._context.metrics.poison.labels("shadows").inc()
        finally:
            if detection is not None:
                detection.close()
            with suppress(ServiceError):
                await self._write()

    def _note(self, decided: Iterable[Decided]) -> None:
        for each in decided:
            action = each.action
            if isinstance(action, ActionStart) and action.start_s >= self._span.from_s:
                self._pending.append(
                    ShadowStart(
                        found_by="shadow",
                        label=action.label,
                        region=each.region,
                        start_s=round(action.start_s, 3),
                        score=round(action.score, 4),
                        time=datetime.now(UTC),
                    )
                )

    async def _write(self) -> None:
        """Store what was found so far; what the store does not accept now waits for the next time."""
        self._written_s = time.monotonic()
        if self._span.to_s <= self._span.from_s:
            return
        taken, self._pending = self._pending, []
        try:
            has_room = await self._context.store.shadows.add(
                self.target.key, self._record.id, self._span, taken, max_kept=MAX_KEPT
            )
        except ServiceError as error:
            self._pending = taken + self._pending
            self.is_over = len(self._pending) > MAX_PENDING
            _log.warning("shadow waits for the store", session=self._record.id, error=error.detail)
        else:
            self.is_over = self.is_over or not has_room
