"""Writes a session's journal to the store beside its analysis, which goes on while the store is away."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from service.detection import Detection
from service.errors import NotFound, ServiceError
from service.journal import Journal, Unsaved
from service.store.base import LeaseLost
from service.store.checkpoint import NOTHING, Checkpoint

REMEMBER_EVERY_S = 5.0
# Events of live sessions are committed at once; all else is gathered for so long.
COMMIT_EVERY_S = 1.0
COMMIT_FAST_EVENTS_EVERY_S = 0.25
STORE_RETRY_S = 0.5
# An event that comes during a commit waits for it no longer than this before the next frame is analysed.
IN_FLIGHT_PATIENCE_S = 0.05
_log = structlog.get_logger(__name__)


class Commits:
    """Of one session, one commit at a time. What the store does not take waits in the journal, and when that is full
    the session waits. `gives_up` says whether waiting has become pointless, `is_passing` whether the source plays on
    without us.

    Each commit has a checkpoint. The detector's state is half a megabyte: it goes into one of many, and whoever goes on
    from an older one has the detector see a few seconds again. Of what passes nothing can be seen again, so its state
    is kept only when the session moves.
    """

    def __init__(self, journal: Journal, gives_up: Callable[[], bool], is_passing: Callable[[], bool]) -> None:
        self._journal = journal
        self._gives_up = gives_up
        self._is_passing = is_passing
        self._writing: asyncio.Task[ServiceError | None] | None = None
        self._error: ServiceError | None = None
        self._began_s = self._remembered_s = time.monotonic()

    async def if_due(self, detection: Detection, *, at_once: bool) -> None:
        """Begin a commit if it is time for one; `at_once`: it is whenever there are events.

        Raises LeaseLost and NotFound of an earlier commit, ServiceError when waiting for the store is pointless.
        """
        if self._journal.is_full:
            await self.settle(detection)
        if not await self._is_free(at_once):
            return
        now_s = time.monotonic()
        waited_s = now_s - self._began_s
        if self._error is not None and waited_s < STORE_RETRY_S:
            return
        events_due = self._journal.has_events and (at_once or waited_s >= COMMIT_FAST_EVENTS_EVERY_S)
        if events_due or waited_s >= COMMIT_EVERY_S:
            is_due = now_s - self._remembered_s >= REMEMBER_EVERY_S
            await self._begin(detection, with_state=is_due and not self._is_passing())

    async def soon(self, detection: Detection) -> None:
        """Begin a commit unless one is under way: then the next frame's takes what there is."""
        if await self._is_free(at_once=True):
            await self._begin(detection, with_state=False)

    async def settle(self, detection: Detection | None) -> None:
        """Return when all that was told is committed, with the detector's state; the store may take its time.

        Raises LeaseLost, NotFound, and ServiceError when waiting is pointless.
        """
        await self._finished()
        while True:
            await self._begin(detection, with_state=True)
            error = await self._finished()
            if error is None:
                return
            if self._gives_up():
                raise error
            await asyncio.sleep(STORE_RETRY_S)

    async def close(self) -> None:
        """Let the last commit come to its end, whatever that is. Idempotent."""
        with suppress(LeaseLost, NotFound):
            await self._finished()

    async def _is_free(self, at_once: bool) -> bool:
        if self._writing is not None:
            if at_once and self._journal.has_events and self._error is None:
                await asyncio.wait([self._writing], timeout=IN_FLIGHT_PATIENCE_S)
            if not self._writing.done():
                return False
            await self._finished()
        return True

    async def _begin(self, detection: Detection | None, *, with_state: bool) -> None:
        checkpoint: Checkpoint | None = None
        if detection is not None:
            remembered = NOTHING if self._is_passing() else None
            if with_state:
                remembered = await detection.remembered()
                self._remembered_s = time.monotonic()
            checkpoint = detection.checkpoint(remembered)
        # What is told from now on belongs to the next checkpoint.
        unsaved = self._journal.take()
        self._began_s = time.monotonic()
        self._writing = asyncio.create_task(self._write(unsaved, checkpoint))

    async def _write(self, unsaved: Unsaved, checkpoint: Checkpoint | None) -> ServiceError | None:
        try:
            await self._journal.write(unsaved, checkpoint)
        except NotFound:
            raise
        except ServiceError as error:
            self._journal.put_back(unsaved)
            _log.warning("session waits for the store", session=self._journal.record.id, error=error.detail)
            return error
        return None

    async def _finished(self) -> ServiceError | None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            self._error = await writing
        return self._error
