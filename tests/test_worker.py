"""Workers run what fits them, and sessions survive whatever happens to their worker."""

import asyncio
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from live_servers import http_camera
from prometheus_client import CollectorRegistry
from session_kit import (
    Told,
    a_worker,
    actions,
    decoders_of,
    ends_within,
    make_settings,
    states,
    store_of,
    submit,
)
from worker_kit import in_state, until, worker_here, worker_process

from model.checkpoint import CheckpointNotFound
from model.detector import Detector
from service.engine import Engine
from service.errors import StoreUnavailable
from service.schemas import event_key
from service.settings import Settings
from service.store.base import Store, WorkerInfo
from service.telemetry import WorkerMetrics
from service.worker import load_detectors, measure_capacity


@pytest.fixture
def settings(tmp_path: Path, model: Path) -> Settings:
    return make_settings(tmp_path / "data", model)


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    opened = store_of(settings)
    yield opened
    await opened.close()


async def frames_are(store: Store, session_id: str, at_least: int) -> bool:
    return (await store.get_session(session_id)).frames >= at_least


async def assert_told_once(store: Store, session_id: str, expected: list[Told]) -> None:
    events = await store.read_events(session_id)
    keys = [event_key(event.id) for event in events]
    assert keys == sorted(set(keys))
    assert actions(events) == expected
    assert states(events) == ["queued", "starting", "running", "completed"]


async def test_killed_workers_lose_nothing_and_repeat_nothing(
    settings: Settings, store: Store, video: Path, model: Path, expected: list[Told]
) -> None:
    await store.register_worker(a_worker(Detector.load(model), "announces-the-model"))
    queued = await submit(store, settings, upload=video, pace="realtime")
    for number, at_least in enumerate((1, 15, 30)):
        async with worker_process(settings, f"w{number}") as process:
            await until(store, lambda at_least=at_least: frames_are(store, queued.id, at_least))  # type: ignore[misc]
            decoders = decoders_of(process.pid)
            process.kill()
            await process.wait()
            # As the supervisor does; without it the lease runs out after a while.
            await store.release_worker(f"w{number}")
        assert len(decoders) == 1
        assert await asyncio.to_thread(ends_within, decoders[0], 30.0)
    async with worker_here(settings, store, model):
        await until(store, lambda: in_state(store, queued.id, "completed"))
    await assert_told_once(store, queued.id, expected)
    assert (await store.get_session(queued.id)).frames == 40


async def test_a_locked_database_delays_a_session_and_costs_it_nothing(
    settings: Settings, store: Store, video: Path, model: Path, expected: list[Told]
) -> None:
    async with worker_here(settings, store, model):
        queued = await submit(store, settings, upload=video, pace="realtime")
        await until(store, lambda: frames_are(store, queued.id, 1))
        with closing(sqlite3.connect(settings.data_dir / "cake.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StoreUnavailable):
                # Returns when the store has lost its patience; the session's own commits have by then, too.
                await store.request_stop(queued.id)
            other.execute("ROLLBACK")
        await until(store, lambda: in_state(store, queued.id, "completed"))
    await assert_told_once(store, queued.id, expected)


@pytest.mark.parametrize("how", ["SIGTERM", "end of input"])
async def test_a_worker_told_to_end_hands_its_sessions_over_and_exits_cleanly(
    settings: Settings, store: Store, video: Path, model: Path, expected: list[Told], how: str
) -> None:
    await store.register_worker(a_worker(Detector.load(model), "announces-the-model"))
    queued = await submit(store, settings, upload=video, pace="realtime")
    async with worker_process(settings, "w1") as process:
        await until(store, lambda: frames_are(store, queued.id, 10))
        if how == "SIGTERM":
            process.send_signal(signal.SIGTERM)
        else:
            assert process.stdin is not None
            process.stdin.close()
        async with asyncio.timeout(60):
            assert await process.wait() == 0
    assert "w1" not in [worker.id for worker in await store.workers()]
    checkpoint = await store.load_checkpoint(queued.id)
    assert checkpoint is not None
    assert checkpoint.frames == (await store.get_session(queued.id)).frames
    async with worker_here(settings, store, model):
        await until(store, lambda: in_state(store, queued.id, "completed"))
    await assert_told_once(store, queued.id, expected)


async def test_a_stop_request_takes_effect_within_two_seconds(
    settings: Settings, store: Store, video: Path, model: Path
) -> None:
    async with worker_here(settings, store, model):
        queued = await submit(store, settings, upload=video, pace="realtime")
        await until(store, lambda: in_state(store, queued.id, "running"))
        asked_s = time.monotonic()
        await store.request_stop(queued.id)
        await until(store, lambda: in_state(store, queued.id, "stopped"))
        assert time.monotonic() - asked_s < 2


async def test_a_worker_takes_no_more_live_sessions_than_its_capacity_holds(
    settings: Settings, store: Store, video: Path, model: Path
) -> None:
    await store.register_worker(WorkerInfo("announces-more", 100.0, a_worker(Detector.load(model)).models))
    queued = [await submit(store, settings, upload=video, pace="realtime") for _ in range(3)]

    def small(detector: Detector) -> WorkerInfo:
        return WorkerInfo("w1", 25.0, a_worker(detector).models)

    async with worker_here(settings, store, model, small):
        await until(store, lambda: in_state(store, queued[1].id, "running"))
        assert (await store.get_session(queued[2].id)).state == "queued"
        await until(store, lambda: in_state(store, queued[2].id, "running", "completed"))
        assert any([await in_state(store, session.id, "completed") for session in queued[:2]])


async def test_a_camera_behind_a_web_address_takes_no_place_of_a_file(
    settings: Settings, store: Store, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.worker.MAX_FAST_SESSIONS", 1)
    async with worker_here(settings, store, model):
        with http_camera() as url:
            cameras = [await submit(store, settings, url=url) for _ in range(3)]
            for camera in cameras:
                await until(store, lambda camera=camera: frames_are(store, camera.id, 1))  # type: ignore[misc]


async def test_many_sessions_run_beside_each_other_and_each_is_told_its_own(
    settings: Settings, store: Store, video: Path, model: Path, expected: list[Told]
) -> None:
    async with worker_here(settings, store, model):
        paces = ("fast", "realtime", "fast", "fast")
        queued = [await submit(store, settings, upload=video, pace=pace) for pace in paces]  # type: ignore[arg-type]
        for session in queued:
            await until(store, lambda session=session: in_state(store, session.id, "completed"))  # type: ignore[misc]
    for session in queued:
        await assert_told_once(store, session.id, expected)


async def test_capacity_is_measured_unless_the_operator_states_it(settings: Settings, model: Path) -> None:
    detectors = load_detectors(settings)
    assert list(detectors) == ["tiny"]
    async with Engine(detectors, WorkerMetrics(CollectorRegistry())) as engine:
        assert await measure_capacity(engine, detectors, settings) == 200.0
        measured = settings.model_copy(update={"worker_capacity_steps_per_s": None, "worker_max_sessions": 3})
        assert 0 < await measure_capacity(engine, detectors, measured) <= 3 * 10.0


def test_a_missing_model_is_said_by_name(settings: Settings) -> None:
    with pytest.raises(CheckpointNotFound, match="nothing-here"):
        load_detectors(settings.model_copy(update={"models": ["nothing-here"]}))
