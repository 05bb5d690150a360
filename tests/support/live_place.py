"""Sessions of live sources that run in the test's process, and what they store."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from model.detector import Detector
from service.event_schemas import Event, SessionGapEvent, event_key
from service.observability.telemetry import WorkerMetrics
from service.push.gate import PushGate, open_gate
from service.session.context import WorkerContext
from service.session.engine import Engine
from service.session.session import RunningSession
from service.settings import Settings
from service.sources.stored import StoredUrl
from service.storage.blobs import Blobs
from service.store.protocols import Store
from service.store.records import SessionRecord
from tests.support.session_kit import a_worker, decoders_of, make_settings, store_of, submit
from tests.support.tiny_model import load


@dataclass
class Running:
    """A session that runs in this process, and its record and events in the store."""

    session: RunningSession
    store: Store
    task: asyncio.Task[None]

    async def record(self) -> SessionRecord:
        return await self.store.sessions.get(self.session.record.id)

    async def events(self) -> list[Event]:
        return await self.store.log.read_events(self.session.record.id)

    async def gaps(self) -> list[SessionGapEvent]:
        return [event for event in await self.events() if event.type == "session.gap"]

    async def reaches(self, condition: Callable[[SessionRecord], bool]) -> SessionRecord:
        """Wait until a commit makes the condition true."""
        async with asyncio.timeout(100):
            while not condition(record := await self.record()):
                await self.store.log.wait(await self.store.log.end(), timeout_s=0.05)
        return record

    async def runs(self, *, beyond_s: float = 0.0) -> SessionRecord:
        """Wait until it runs and has analysed more than `beyond_s` seconds."""
        return await self.reaches(lambda record: record.state == "running" and record.position_s > beyond_s)

    async def reaches_gaps(self, count: int) -> list[SessionGapEvent]:
        """Wait until so many gaps were published."""
        async with asyncio.timeout(100):
            while len(gaps := await self.gaps()) < count:
                await self.store.log.wait(await self.store.log.end(), timeout_s=0.05)
        return gaps

    async def lost_at_s(self) -> float:
        """Where the source was lost the last time. The state itself may have passed before a test sees it."""
        lost = [
            event for event in await self.events() if event.type == "session.state" and event.state == "reconnecting"
        ]
        return lost[-1].decided_s

    async def stop(self) -> None:
        """Stop the session and wait for its end."""
        self.session.stop()
        async with asyncio.timeout(100):
            await self.task
        assert (await self.record()).state == "stopped"


class Place:
    """What a worker gives its sessions."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        engine: Engine,
        metrics: WorkerMetrics,
        detector: Detector,
        gate: PushGate,
    ) -> None:
        self.settings, self.store, self.engine, self.metrics, self.gate = settings, store, engine, metrics, gate
        self._detector = detector
        self.blobs = Blobs(settings.blob_url, settings.data_dir)

    @asynccontextmanager
    async def session(self, url: str = "", **options: object) -> AsyncIterator[Running]:
        """Run a new session of this camera; without a URL, the session that waits for a worker."""
        await self.store.workers.register(a_worker(self._detector))
        if url:
            await submit(self.store, self.settings, source=StoredUrl.model_validate({"url": url, **options}))
        record = await self.store.workers.claim("w1")
        assert record is not None
        context = WorkerContext(self.store, self.engine, self.metrics, self.settings, self.gate, self.blobs)
        session = RunningSession(record, context)
        running = Running(session, self.store, asyncio.create_task(session.run()))
        yield running
        session.stop()
        await running.task
        assert decoders_of(os.getpid()) == []
        keys = [event_key(event.id) for event in await running.events()]
        assert keys == sorted(set(keys))

    def dropped(self, reason: str) -> float:
        """How many frames were dropped for this reason."""
        return float(self.metrics.dropped.labels(reason)._value.get())


@asynccontextmanager
async def a_place(folder: Path, model: Path, **chosen: object) -> AsyncIterator[Place]:
    settings = make_settings(folder / "data", model, **chosen)
    detector, metrics, store = load(model), WorkerMetrics(CollectorRegistry()), store_of(settings)
    try:
        async with Engine({"tiny": detector}, metrics) as engine, open_gate() as gate:
            yield Place(settings, store, engine, metrics, detector, gate)
    finally:
        await store.close()
