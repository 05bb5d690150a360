"""Claims sessions while there is capacity, renews their leases, runs them, and hands them over at the end.

A live session reserves its sampling rate from the measured capacity. A fast one reserves a small fixed share, and
also uses capacity that is free.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from service.errors import ServiceError
from service.session.context import WorkerContext
from service.session.outcome import INTERNAL_FAILURE
from service.session.session import RunningSession
from service.store.records import SessionRecord, SessionUpdate, state_event
from service.store.worker_records import LeaseLostError, WorkerInfo
from service.worker.shadows import follow_shadows
from service.worker.uploaded_models import UploadedModels

CLAIM_EVERY_S = 0.1
# Without sessions, a worker claims when notified, and at this interval to find sessions of dead workers.
IDLE_CLAIM_EVERY_S = 0.5
# A stop request is seen at a renewal: often enough for it to take effect within 2 s.
RENEW_EVERY_S = 0.5
STORE_RETRY_S = 1.0
# More at a time would not be faster, since larger batches gain nothing; the others wait.
MAX_FAST_STREAMS = 8
# A session that may crash this process runs for this long before others are claimed.
QUARANTINE_S = 10.0

_log = structlog.get_logger("service.worker")


class Worker:
    """Runs claimed sessions until `stop` is set."""

    def __init__(
        self,
        info: WorkerInfo,
        context: WorkerContext,
        uploaded: UploadedModels | None = None,
        *,
        max_fast_streams: int = MAX_FAST_STREAMS,
    ) -> None:
        self._configured = self._info = replace(info, push=context.gate.address)
        self._uploaded = uploaded or UploadedModels(context, {})
        self._context = context
        self._store, self._metrics = context.store, context.metrics
        self._max_fast_streams = max_fast_streams
        self._sessions: dict[str, RunningSession] = {}
        self._claimed_s: dict[RunningSession, float] = {}
        """When each was claimed, on the monotonic clock."""
        self._not_ready: str | None = "The worker has not registered with the store yet."

    def why_not_ready(self) -> str | None:
        """Why it takes no sessions, as a sentence; None if it does."""
        return self._not_ready

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`, then let every session commit its position and release them all."""
        if not await self._register_unless(stop):
            return
        self._metrics.capacity.set(self._info.capacity_steps_per_s)
        _log.info("worker ready", worker=self._info.id, capacity_steps_per_s=self._info.capacity_steps_per_s)
        async with asyncio.TaskGroup() as group:
            renewing = group.create_task(self._renew_forever())
            loading = group.create_task(self._uploaded.run())
            async with asyncio.TaskGroup() as sessions:
                claiming = group.create_task(self._claim_forever(sessions))
                await stop.wait()
                claiming.cancel()
                self._hand_over_all()
            renewing.cancel()
            loading.cancel()
        try:
            await self._store.workers.release(self._info.id)
        except ServiceError as error:
            _log.warning("worker not released", worker=self._info.id, error=error.detail)
        _log.info("worker ended", worker=self._info.id)

    async def _register_unless(self, stop: asyncio.Event) -> bool:
        """Register with the store, however long that takes; False if `stop` was set before."""
        while not stop.is_set():
            try:
                await self._store.workers.register(self._info)
                return True
            except ServiceError as error:
                _log.warning("worker not registered", worker=self._info.id, error=error.detail)
            with suppress(TimeoutError):
                async with asyncio.timeout(STORE_RETRY_S):
                    await stop.wait()
        return False

    async def _claim_forever(self, sessions: asyncio.TaskGroup) -> None:
        while True:
            try:
                record = await self._claim()
            except ServiceError as error:
                _log.warning("no session claimed", error=error.detail)
                await asyncio.sleep(STORE_RETRY_S)
                continue
            except Exception:
                # A defect of ours, or a record that cannot be read: the running sessions continue.
                _log.exception("no session claimed")
                self._metrics.poison.labels("claims").inc()
                await asyncio.sleep(STORE_RETRY_S)
                continue
            if record is None:
                await self._until_claimable()
            else:
                sessions.create_task(self._run_session(record))
                # The task's first step counts the session, so that the next claim sees what is left.
                await asyncio.sleep(0)

    async def _until_claimable(self) -> None:
        """Not shorter than CLAIM_EVERY_S, as every commit may end the waiting; not longer with sessions, which free
        capacity when they end.
        """
        timeout_s = CLAIM_EVERY_S if self._sessions else IDLE_CLAIM_EVERY_S
        await asyncio.gather(asyncio.sleep(CLAIM_EVERY_S), self._store.workers.until_claimable(timeout_s))

    async def _claim(self) -> SessionRecord | None:
        """The next session that fits, if any. Raises ServiceError."""
        running, settings = self._sessions.values(), self._context.settings
        if len(running) >= settings.worker_max_sessions or any(self._is_quarantined(one) for one in running):
            return None
        free_steps_per_s = self._info.capacity_steps_per_s - sum(session.cost_steps_per_s for session in running)
        if free_steps_per_s < settings.fast_session_steps_per_s:
            return None
        fast_streams = sum(session.streams for session in running if not session.is_realtime)
        is_full_of_fast = fast_streams >= self._max_fast_streams
        return await self._store.workers.claim(
            self._info.id, room_steps_per_s=free_steps_per_s, pace="realtime" if is_full_of_fast else None
        )

    async def _run_session(self, record: SessionRecord) -> None:
        session: RunningSession | None = None
        try:
            session = self._sessions[record.id] = RunningSession(record, self._context)
            self._claimed_s[session] = time.monotonic()
            self._metrics.running.set(len(self._sessions))
            await session.run()
        except Exception:
            # A defect of ours ends this session; the others continue.
            _log.exception("session failed unexpectedly", session=record.id)
            self._metrics.poison.labels("sessions").inc()
            await self._fail(record)
        finally:
            if session is not None:
                self._claimed_s.pop(session, None)
                if self._sessions.get(record.id) is session:
                    del self._sessions[record.id]
            self._metrics.running.set(len(self._sessions))

    async def _fail(self, claimed: SessionRecord) -> None:
        """End a session that could not end itself; otherwise this worker would keep its lease."""
        try:
            record = await self._store.sessions.get(claimed.id)
            outcome, now = INTERNAL_FAILURE, datetime.now(UTC)
            event = state_event(record, outcome.state, time=now, code=outcome.code, detail=outcome.detail)
            update = SessionUpdate(state=outcome.state, code=outcome.code, detail=outcome.detail, ended_at=now)
            await self._store.log.commit(record.id, claimed.token, events=[event], update=update)
        except LeaseLostError:
            return
        except Exception:
            _log.exception("session not ended", session=claimed.id)

    def _is_quarantined(self, session: RunningSession) -> bool:
        """Whether no others are claimed while it runs, because it may be about to crash this process."""
        return session.is_suspect and time.monotonic() - self._claimed_s[session] < QUARANTINE_S

    async def _renew_forever(self) -> None:
        while True:
            try:
                await self._renew()
                self._not_ready = None
            except ServiceError as error:
                self._not_ready = error.detail
                _log.warning("leases not renewed", error=error.detail)
            except Exception:
                self._not_ready = "The worker cannot renew its leases; its log has the reason."
                _log.exception("leases not renewed")
                self._metrics.poison.labels("leases").inc()
            self._metrics.frame_age.set(max((session.lag_s for session in self._sessions.values()), default=0.0))
            await asyncio.sleep(RENEW_EVERY_S)

    async def _renew(self) -> None:
        try:
            renewal = await self._store.workers.renew(self._info.id)
            for session_id, session in self._sessions.items():
                session.is_watched = session_id in renewal.watched
                if session_id in renewal.stop_requested:
                    session.stop()
            for session_id in renewal.changed:
                await self._change(session_id)
            self._uploaded.follow(renewal.models, renewal.shadows)
            follow_shadows(
                self._sessions.values(),
                renewal.shadows,
                self._context.engine,
                self._uploaded.speeds,
                capacity_steps_per_s=self._info.capacity_steps_per_s,
            )
            await self._announce()
        except LeaseLostError:
            # The store considered this worker dead: its sessions belong to others now.
            _log.warning("worker was released and registers again", worker=self._info.id)
            self._hand_over_all()
            await self._store.workers.register(self._info)

    async def _announce(self) -> None:
        """Tell the store which models have been loaded or unloaded, or could not be loaded, since the last call."""
        offered = self._uploaded.offered_by(self._configured)
        if offered != self._info:
            await self._store.workers.announce(offered)
            self._info = offered
            self._metrics.capacity.set(offered.capacity_steps_per_s)

    async def _change(self, session_id: str) -> None:
        """Pass the session's changed settings on, or try again at the next renewal."""
        session = self._sessions.get(session_id)
        if session is not None:
            # A newer version may have changed it to what this one cannot read, which the store has logged.
            with suppress(ServiceError):
                session.change(await self._store.sessions.get(session_id))

    def _hand_over_all(self) -> None:
        for session in self._sessions.values():
            session.hand_over()
