"""A worker's surroundings, in which a test may disturb a session at any step of its detector."""

import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry
from session_kit import (
    Told,
    a_worker,
    actions,
    decoders_of,
    make_settings,
    store_of,
    submit,
)

from model.cake import Cake
from model.config import Precision
from model.detector import Detector, Stream
from service.blobs import Blobs
from service.engine import Engine
from service.push.gate import PushGate, open_gate
from service.schemas import Event, event_key
from service.session import Session
from service.settings import Settings
from service.store.base import SessionRecord, Store
from service.telemetry import WorkerMetrics


class DisturbedDetector(Detector):
    """The real detector; before its n-th step it calls what a test put there."""

    steps = 0

    def __init__(self, model: Cake, version: str, name: str, *, precision: Precision) -> None:
        super().__init__(model, version, name, precision=precision)
        self.before_step: dict[int, Callable[[], object]] = {}

    def push(self, streams: Sequence[Stream], images_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.steps += 1
        self.before_step.pop(self.steps, lambda: None)()
        return super().push(streams, images_BHWC)


class Place:
    """One worker's surroundings."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        detector: DisturbedDetector,
        engine: Engine,
        metrics: WorkerMetrics,
        gate: PushGate,
    ) -> None:
        self.settings, self.store, self.detector, self.engine = settings, store, detector, engine
        self.metrics, self.gate = metrics, gate
        self.blobs = Blobs(settings.blob_url, settings.data_dir)

    async def claim(self) -> Session:
        await self.store.register_worker(a_worker(self.detector))
        record = await self.store.claim_session("w1")
        assert record is not None
        return Session(record, self.store, self.engine, self.metrics, self.settings, self.gate, self.blobs)

    async def run(self, **what: object) -> tuple[SessionRecord, list[Event]]:
        """Submit, run to the end, and give the session and its events."""
        await self.store.register_worker(a_worker(self.detector))
        queued = await submit(self.store, self.settings, **what)  # type: ignore[arg-type]
        await (await self.claim()).run()
        return await self.told(queued.id)

    async def told(self, session_id: str) -> tuple[SessionRecord, list[Event]]:
        return await self.store.get_session(session_id), await self.store.read_events(session_id)


@asynccontextmanager
async def a_place(model: Path, data_dir: Path) -> AsyncIterator[Place]:
    settings = make_settings(data_dir, model)
    detector = DisturbedDetector.load(model)
    metrics = WorkerMetrics(CollectorRegistry())
    store = store_of(settings)
    async with Engine({"tiny": detector}, metrics) as engine, open_gate() as gate:
        yield Place(settings, store, detector, engine, metrics, gate)
    await store.close()


def kill_decoders() -> None:
    for pid in decoders_of(os.getpid()):
        os.kill(pid, signal.SIGKILL)


def assert_well_told(record: SessionRecord, events: list[Event], expected: list[Told]) -> None:
    keys = [event_key(event.id) for event in events]
    assert keys == sorted(set(keys))
    assert actions(events) == expected
    # Ids are made of media time alone, and so are the same whatever happened on the way.
    at_ms = [key[0] for key, event in zip(keys, events, strict=True) if event.type.startswith("action.")]
    assert at_ms == [round(decided_s * 1000) for _, _, _, decided_s in expected]
    assert record.state == "completed"
    assert record.last_event_id == events[-1].id
