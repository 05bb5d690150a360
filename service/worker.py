"""A worker process: takes sessions while it has capacity, keeps their leases, runs them, hands them over at the end.

A live session costs its sampling rate of the measured capacity; a fast one a small fixed share, and it takes what the
others leave. Its process begins in `service.worker_process`.
"""

import asyncio
import os
import signal
import stat
import sys
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import structlog
import uvloop
from prometheus_client import CollectorRegistry, ProcessCollector

from model.checkpoint import CheckpointInvalid, CheckpointNotFound, available_models
from model.config import BACKGROUND
from model.detector import Detector
from service.authorities import write_authorities
from service.beside import beside
from service.blobs import Blobs, BlobUrlInvalid, check_blob_url
from service.engine import Engine
from service.errors import ServiceError
from service.push.gate import PushGate, open_gate
from service.schemas import ModelInfo
from service.session import Session
from service.settings import Settings
from service.store import StoreUrlInvalid, check_store_url, open_store
from service.store.base import LeaseLost, SessionRecord, Store, WorkerInfo
from service.telemetry import WorkerMetrics, configure_logging
from service.tracing import TracingUnavailable, configure_tracing
from service.worker_http import open_worker_http

CLAIM_EVERY_S = 0.1
# A stop request is seen at a renewal: often enough for it to take effect within 2 s.
RENEW_EVERY_S = 0.5
STORE_AGAIN_S = 1.0
# More at once would not be faster, as the gain of larger batches ends there; the others wait.
MAX_FAST_SESSIONS = 8
# Of the measured steps per second: the rest is for decoders, commits and bursts.
USABLE_SHARE, USABLE_SHARE_OF_ONE_CORE = 0.7, 0.35
MEASURE_S = 0.5
# The kernel ends a worker that has not handed over its sessions by then.
EXIT_WITHIN_S = 9

_log = structlog.get_logger("service.worker")


class Worker:
    """Runs claimed sessions until `stop` is set."""

    def __init__(
        self,
        info: WorkerInfo,
        store: Store,
        engine: Engine,
        metrics: WorkerMetrics,
        settings: Settings,
        gate: PushGate,
        blobs: Blobs,
    ) -> None:
        self._info = replace(info, push=gate.address)
        self._store = store
        self._engine = engine
        self._metrics = metrics
        self._settings = settings
        self._gate = gate
        self._blobs = blobs
        self._sessions: dict[str, Session] = {}
        self._not_ready: str | None = "It has not announced itself to the store yet."

    def why_not_ready(self) -> str | None:
        """A sentence while it takes no sessions, else None."""
        return self._not_ready

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`, then let every session commit where it stands and release them all."""
        if not await self._register_unless(stop):
            return
        self._metrics.capacity.set(self._info.capacity_steps_per_s)
        _log.info("worker ready", worker=self._info.id, capacity_steps_per_s=self._info.capacity_steps_per_s)
        async with asyncio.TaskGroup() as group:
            renewing = group.create_task(self._renew_for_ever())
            async with asyncio.TaskGroup() as sessions:
                claiming = group.create_task(self._claim_for_ever(sessions))
                await stop.wait()
                claiming.cancel()
                self._hand_over_all()
            renewing.cancel()
        try:
            await self._store.release_worker(self._info.id)
        except ServiceError as error:
            _log.warning("worker not released", worker=self._info.id, error=error.detail)
        _log.info("worker ended", worker=self._info.id)

    async def _register_unless(self, stop: asyncio.Event) -> bool:
        """Whether the store knows this worker now; it may take its time, but not longer than until `stop`."""
        while not stop.is_set():
            try:
                await self._store.register_worker(self._info)
                return True
            except ServiceError as error:
                _log.warning("worker not registered", worker=self._info.id, error=error.detail)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), STORE_AGAIN_S)
        return False

    async def _claim_for_ever(self, sessions: asyncio.TaskGroup) -> None:
        while True:
            try:
                record = await self._claim()
            except ServiceError as error:
                _log.warning("no session claimed", error=error.detail)
                await asyncio.sleep(STORE_AGAIN_S)
                continue
            if record is None:
                await asyncio.sleep(CLAIM_EVERY_S)
            else:
                session = Session(
                    record, self._store, self._engine, self._metrics, self._settings, self._gate, self._blobs
                )
                self._sessions[record.id] = session
                sessions.create_task(self._run_session(session))

    async def _claim(self) -> SessionRecord | None:
        """The next session that fits, if any. Raises ServiceError."""
        running = self._sessions.values()
        if len(running) >= self._settings.worker_max_sessions:
            return None
        room_steps_per_s = self._info.capacity_steps_per_s - sum(session.cost_steps_per_s for session in running)
        if room_steps_per_s < self._settings.fast_session_steps_per_s:
            return None
        no_more_fast = sum(not session.is_in_real_time for session in running) >= MAX_FAST_SESSIONS
        return await self._store.claim_session(
            self._info.id, room_steps_per_s=room_steps_per_s, pace="realtime" if no_more_fast else None
        )

    async def _run_session(self, session: Session) -> None:
        self._metrics.running.set(len(self._sessions))
        try:
            await session.run()
        except Exception:
            # A defect of ours. The session stays as it is until the next worker tries; the others go on.
            _log.exception("session left unfinished", session=session.record.id)
        finally:
            if self._sessions.get(session.record.id) is session:
                del self._sessions[session.record.id]
            self._metrics.running.set(len(self._sessions))

    async def _renew_for_ever(self) -> None:
        while True:
            try:
                await self._renew()
                self._not_ready = None
            except ServiceError as error:
                self._not_ready = error.detail
                _log.warning("leases not renewed", error=error.detail)
            self._metrics.frame_age.set(max((session.lag_s for session in self._sessions.values()), default=0.0))
            await asyncio.sleep(RENEW_EVERY_S)

    async def _renew(self) -> None:
        try:
            wishes = await self._store.renew_leases(self._info.id)
            for session_id, session in self._sessions.items():
                session.is_watched = session_id in wishes.watched
                if session_id in wishes.stop:
                    session.stop()
        except LeaseLost:
            # Somebody took this worker for dead: its sessions are others' now.
            _log.warning("worker was released, registers again", worker=self._info.id)
            self._hand_over_all()
            await self._store.register_worker(self._info)

    def _hand_over_all(self) -> None:
        for session in self._sessions.values():
            session.hand_over()


def load_detectors(settings: Settings) -> dict[str, Detector]:
    """The models to serve, by the name under which sessions ask for them.

    Raises CheckpointNotFound or CheckpointInvalid.
    """
    shipped = available_models()
    detectors: dict[str, Detector] = {}
    for name_or_path in settings.models or shipped:
        detector = Detector.load(name_or_path, precision=settings.precision)
        detectors[name_or_path if name_or_path in shipped else detector.name] = detector
    if not detectors:
        raise CheckpointNotFound("no model is installed; name a checkpoint folder in CAKE_MODELS")
    return detectors


async def measure_capacity(engine: Engine, detectors: Mapping[str, Detector], settings: Settings) -> float:
    """Steps per second that may be promised: of the slowest model, with something held back."""
    if settings.worker_capacity_steps_per_s is not None:
        return settings.worker_capacity_steps_per_s
    duration_s = MEASURE_S / len(detectors)
    slowest = min([await engine.measure_steps_per_s(name, duration_s=duration_s) for name in detectors])
    cores = len(os.sched_getaffinity(0))
    usable = slowest * (USABLE_SHARE if cores > 1 else USABLE_SHARE_OF_ONE_CORE)
    # What the greatest number of live sessions can use; more would be promised to sessions that then wait.
    most_hz = max(detector.config.sample_hz for detector in detectors.values())
    return min(usable, settings.worker_max_sessions * most_hz)


def describe(name: str, detector: Detector) -> ModelInfo:
    config = detector.config
    labels = [label for label in config.labels if label != BACKGROUND]
    return ModelInfo(
        name=name,
        version=detector.version,
        labels=labels,
        sample_hz=config.sample_hz,
        image_size=config.image_size,
    )


async def work(settings: Settings, detectors: Mapping[str, Detector]) -> None:
    """Be a worker until SIGTERM, SIGINT or the end of the parent."""
    stop = _stop_on_signals_and_orphaning()
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    metrics = WorkerMetrics(registry)
    settings.uploads_dir.mkdir(parents=True, exist_ok=True)
    blobs = Blobs(settings.blob_url, settings.data_dir)
    if settings.source_ca is not None:
        write_authorities(settings.source_ca, settings.authorities)
    store = open_store(settings.resolved_store_url, scores_keep_s=settings.scores_keep_s)
    try:
        async with (
            Engine(detectors, metrics, torch_threads=settings.worker_threads) as engine,
            open_gate(settings.worker_host, settings.worker_push_port, address=settings.worker_address) as gate,
        ):
            worker_id = settings.worker_id or f"worker-{uuid.uuid4().hex[:8]}"
            capacity = await measure_capacity(engine, detectors, settings)
            models = tuple(describe(name, detector) for name, detector in detectors.items())
            info = WorkerInfo(worker_id, capacity, models)
            worker = Worker(info, store, engine, metrics, settings, gate, blobs)
            async with (
                beside(engine.prepare_all()),
                open_worker_http(settings.worker_host, settings.worker_port, registry, worker.why_not_ready),
            ):
                await worker.run(stop)
    finally:
        await store.close()
        signal.alarm(0)


def _stop_on_signals_and_orphaning() -> asyncio.Event:
    """Set by SIGTERM, SIGINT, and when a parent that holds a pipe to this process's stdin goes away."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def begin_to_stop() -> None:
        signal.alarm(EXIT_WITHIN_S)
        stop.set()

    def on_input() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            begin_to_stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, begin_to_stop)
    if stat.S_ISFIFO(os.fstat(0).st_mode) or stat.S_ISSOCK(os.fstat(0).st_mode):
        loop.add_reader(0, on_input)
    return stop


def main() -> None:
    """Entry of the worker process. Exit status 2: the models cannot be loaded, or the settings name no store."""
    settings = Settings.model_validate({})
    configure_logging(settings.log_level, as_json=settings.log_json)
    try:
        check_store_url(settings.resolved_store_url)
        check_blob_url(settings.blob_url)
        if settings.traces:
            configure_tracing("cake-worker")
        detectors = load_detectors(settings)
    except (CheckpointNotFound, CheckpointInvalid, StoreUrlInvalid, BlobUrlInvalid, TracingUnavailable) as error:
        _log.error("worker not started", error=str(error))
        sys.exit(2)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work(settings, detectors))
