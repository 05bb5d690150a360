"""A worker's surroundings, in which a test may disturb a session at any step of its detector."""

import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from model.detector import Detector, Stream
from service.event_schemas import Event, event_key
from service.observability.telemetry import WorkerMetrics
from service.push.gate import PushGate, open_gate
from service.session.context import CommitSchedule, WorkerContext
from service.session.engine import Engine
from service.session.session import RunningSession
from service.settings import Settings
from service.storage.blobs import Blobs
from service.store.protocols import Store
from service.store.records import SessionRecord
from service.store.worker_records import WorkerInfo
from tests.support.session_kit import (
    Reported,
    a_worker,
    actions,
    decoders_of,
    make_settings,
    store_of,
    submit,
)
from tests.support.tiny_model import kept_graphs

EVERY_SECOND = CommitSchedule()


class DisturbedDetector(Detector):
    """The real detector; before its n-th step it calls what a test put there."""

    steps = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.before_step: dict[int, Callable[[], object]] = {}

    def push(
        self, streams: Sequence[Stream], images_BHWC: NDArray[np.uint8], unchanged_B: Sequence[bool] | None = None
    ) -> NDArray[np.float32]:
        self.steps += 1
        self.before_step.pop(self.steps, lambda: None)()
        return super().push(streams, images_BHWC, unchanged_B)


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

    async def claim(
        self, commit_schedule: CommitSchedule = EVERY_SECOND, *, offered: WorkerInfo | None = None
    ) -> RunningSession:
        """The next session of a worker that has the models of `offered`, or only the tiny one."""
        await self.store.workers.register(offered or a_worker(self.detector))
        record = await self.store.workers.claim("w1")
        assert record is not None
        context = WorkerContext(
            *(self.store, self.engine, self.metrics, self.settings, self.gate, self.blobs, commit_schedule)
        )
        return RunningSession(record, context)

    async def run(self, **what: object) -> tuple[SessionRecord, list[Event]]:
        """Submit, run to the end, and give the session and its events."""
        await self.store.workers.register(a_worker(self.detector))
        queued = await submit(self.store, self.settings, **what)  # type: ignore[arg-type]
        await (await self.claim()).run()
        return await self.reported(queued.id)

    async def reported(self, session_id: str) -> tuple[SessionRecord, list[Event]]:
        """The session and its events so far."""
        return await self.store.sessions.get(session_id), await self.store.log.read_events(session_id)


@asynccontextmanager
async def a_place(model: Path, data_dir: Path, **chosen: object) -> AsyncIterator[Place]:
    """`chosen` are settings."""
    settings = make_settings(data_dir, model, **chosen)
    detector = DisturbedDetector.load(model, graphs=kept_graphs(model))
    assert isinstance(detector, DisturbedDetector)
    metrics = WorkerMetrics(CollectorRegistry())
    store = store_of(settings)
    try:
        async with Engine({"tiny": detector}, metrics) as engine, open_gate() as gate:
            yield Place(settings, store, detector, engine, metrics, gate)
    finally:
        await store.close()


def kill_decoders() -> None:
    """Kill all decoders of this process."""
    for pid in decoders_of(os.getpid()):
        os.kill(pid, signal.SIGKILL)


def assert_well_reported(record: SessionRecord, events: list[Event], expected: list[Reported]) -> None:
    """The session completed, and its events are the expected ones, each once and in order."""
    keys = [event_key(event.id) for event in events]
    assert keys == sorted(set(keys))
    assert actions(events) == expected
    # Ids are made of media time alone, and so are the same whatever happened on the way.
    at_ms = [key[0] for key, event in zip(keys, events, strict=True) if event.type.startswith("action.")]
    assert at_ms == [round(decided_s * 1000) for _, _, _, decided_s in expected]
    assert record.state == "completed"
    assert record.last_event_id == events[-1].id
