"""Commits a session's events and scores, with a resume point, while analysis continues."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import structlog

from service.errors import NotFoundError, ServiceError
from service.session.context import WorkerContext
from service.session.detection import Detection
from service.session.events import EventBuffer, Uncommitted
from service.session.source import SessionSource
from service.store.records import NO_SNAPSHOT, ResumePoint
from service.store.worker_records import LeaseLostError

T = TypeVar("T")

STORE_RETRY_S = 0.5
# An event that arrives during a commit waits for it at most this long before the next frame is analysed.
IN_FLIGHT_PATIENCE_S = 0.05
_log = structlog.get_logger(__name__)


class Commits:
    """The commits of one session, one at a time.

    What the store does not accept stays in the buffer; when that is full, the session waits. Each commit has a resume
    point. The detector state is large (about half a megabyte), so only some commits include it; a session that resumes
    from an older one replays the frames since then. A source that cannot be rewound has nothing to replay, so its state
    is saved only when the session moves to another worker.
    """

    def __init__(self, context: WorkerContext, buffer: EventBuffer, source: SessionSource) -> None:
        self._store, self._metrics, self._schedule = context.store, context.metrics, context.commit_schedule
        self._buffer = buffer
        self._source = source
        self._is_handed_over = False
        self._writing: asyncio.Task[ServiceError | None] | None = None
        self._error: ServiceError | None = None
        self._began_s = self._snapshot_saved_s = time.monotonic()

    def stop_waiting(self) -> None:
        """From now on, raise the store's error instead of waiting until the store works again."""
        self._is_handed_over = True

    async def retry(self, use_store: Callable[[], Awaitable[T]]) -> T:
        """Use the store, and wait while it is unavailable or full.

        Raises NotFoundError, and other ServiceErrors after `stop_waiting`.
        """
        while True:
            try:
                return await use_store()
            except NotFoundError:
                raise
            except ServiceError as error:
                if self._is_handed_over:
                    raise
                _log.warning("session waits for the store", session=self._buffer.record.id, error=error.detail)
            await asyncio.sleep(STORE_RETRY_S)

    async def commit_if_due(self, detection: Detection) -> None:
        """Start a commit if it is time for one.

        Raises LeaseLostError and NotFoundError of an earlier commit, and ServiceError after `stop_waiting`.
        """
        if self._buffer.is_full:
            await self.settle(detection)
        # It is unknown when a source that cannot be rewound sends its next frame, so its events do not wait for that.
        at_once = self._source.is_realtime or not self._source.can_rewind
        if not await self._is_free(at_once=at_once):
            return
        now_s = time.monotonic()
        waited_s = now_s - self._began_s
        if self._error is not None and waited_s < STORE_RETRY_S:
            return
        events_due = self._buffer.has_events and (at_once or waited_s >= self._schedule.events_every_s)
        if events_due or waited_s >= self._schedule.every_s:
            snapshot_due = now_s - self._snapshot_saved_s >= self._schedule.detector_snapshot_every_s
            await self._begin(detection, with_snapshot=snapshot_due and self._source.can_rewind)

    async def commit_soon(self, detection: Detection) -> None:
        """Start a commit unless one is in progress; in that case the next frame's commit includes everything."""
        if await self._is_free(at_once=True):
            await self._begin(detection, with_snapshot=False)

    async def settle(self, detection: Detection | None) -> None:
        """Return when everything is committed, including the detector state, however long the store takes.

        Raises LeaseLostError, NotFoundError, and ServiceError after `stop_waiting`.
        """
        await self._finished()
        while True:
            await self._begin(detection, with_snapshot=True)
            error = await self._finished()
            if error is None:
                return
            if self._is_handed_over:
                raise error
            await asyncio.sleep(STORE_RETRY_S)

    async def close(self) -> None:
        """Wait for the last commit, even if it fails. Idempotent."""
        with suppress(LeaseLostError, NotFoundError):
            await self._finished()

    async def _is_free(self, *, at_once: bool) -> bool:
        if self._writing is not None:
            if at_once and self._buffer.has_events and self._error is None:
                await asyncio.wait([self._writing], timeout=IN_FLIGHT_PATIENCE_S)
            if not self._writing.done():
                return False
            await self._finished()
        return True

    async def _begin(self, detection: Detection | None, *, with_snapshot: bool) -> None:
        resume_point: ResumePoint | None = None
        if detection is not None:
            state = None if self._source.can_rewind else NO_SNAPSHOT
            if with_snapshot:
                state = await detection.detector_snapshot()
                self._snapshot_saved_s = time.monotonic()
            resume_point = detection.resume_point(state)
        # Events from now on belong to the next resume point.
        taken = self._buffer.take()
        self._began_s = time.monotonic()
        self._writing = asyncio.create_task(self._write(taken, resume_point))

    async def _write(self, taken: Uncommitted, resume_point: ResumePoint | None) -> ServiceError | None:
        record, began_unix_s = self._buffer.record, time.time()
        try:
            with self._metrics.commit_seconds.time():
                await self._store.log.commit(
                    record.id,
                    record.token,
                    events=taken.events,
                    resume_point=resume_point,
                    update=taken.update,
                    scores=taken.scores,
                )
        except NotFoundError:
            raise
        except ServiceError as error:
            self._buffer.put_back(taken)
            _log.warning("session waits for the store", session=record.id, error=error.detail)
            return error
        self._buffer.committed(taken, began_unix_s=began_unix_s)
        return None

    async def _finished(self) -> ServiceError | None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            self._error = await writing
        return self._error
