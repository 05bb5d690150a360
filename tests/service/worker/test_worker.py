"""Workers run the sessions that fit their capacity, and sessions survive the end of their worker."""

import asyncio
import dataclasses
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from model.checkpoints.folders import CheckpointNotFoundError
from model.detector import Detector
from service.errors import StoreUnavailableError
from service.event_schemas import event_key
from service.session.batching import MAX_BATCH
from service.settings import Settings
from service.store.protocols import Store, Workers
from service.store.records import SessionRecord
from service.store.worker_records import WorkerInfo
from service.worker.capacity import measure_capacity_steps_per_s, measure_steps_per_s, relative_speed
from service.worker.process import load_detectors
from tests.support.live_servers import http_camera
from tests.support.session_kit import (
    Reported,
    a_worker,
    actions,
    decoders_of,
    ends_within,
    make_settings,
    states,
    store_of,
    submit,
)
from tests.support.tiny_model import load
from tests.support.worker_kit import in_state, until, worker_here, worker_process


@pytest.fixture
def settings(tmp_path: Path, model: Path) -> Settings:
    return make_settings(tmp_path / "data", model)


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    opened = store_of(settings)
    yield opened
    await opened.close()


async def frames_are(store: Store, session_id: str, at_least: int) -> bool:
    return (await store.sessions.get(session_id)).frames >= at_least


async def assert_reported_once(store: Store, session_id: str, expected: list[Reported]) -> None:
    events = await store.log.read_events(session_id)
    keys = [event_key(event.id) for event in events]
    assert keys == sorted(set(keys))
    assert actions(events) == expected
    assert states(events) == ["queued", "starting", "running", "completed"]


@pytest.mark.slow
async def test_killed_workers_lose_nothing_and_repeat_nothing(
    settings: Settings, store: Store, video: Path, model: Path, expected: list[Reported]
) -> None:
    await store.workers.register(a_worker(load(model), "announces-the-model"))
    queued = await submit(store, settings, upload=video, pace="realtime")
    # A third death within ten seconds of video would end the session.
    for number, at_least in enumerate((1, 15)):
        async with worker_process(settings, f"w{number}") as process:
            await until(store, lambda at_least=at_least: frames_are(store, queued.id, at_least))  # type: ignore[misc]
            decoders = decoders_of(process.pid)
            process.kill()
            await process.wait()
            # As the supervisor does; without it the lease runs out after a while.
            await store.workers.release(f"w{number}")
        assert len(decoders) == 1
        assert await asyncio.to_thread(ends_within, decoders[0], 30.0)
    async with worker_here(settings, store, model):
        await until(store, lambda: in_state(store, queued.id, "completed"))
    await assert_reported_once(store, queued.id, expected)
    assert (await store.sessions.get(queued.id)).frames == 40


async def test_a_locked_database_delays_a_session_and_costs_it_nothing(
    settings: Settings, store: Store, video: Path, model: Path, expected: list[Reported]
) -> None:
    async with worker_here(settings, store, model):
        queued = await submit(store, settings, upload=video, pace="realtime")
        await until(store, lambda: frames_are(store, queued.id, 1))
        with closing(sqlite3.connect(settings.data_dir / "cake.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StoreUnavailableError):
                # Returns when the store has lost its patience; the session's own commits have by then, too.
                await store.sessions.request_stop(queued.id)
            other.execute("ROLLBACK")
        await until(store, lambda: in_state(store, queued.id, "completed"))
    await assert_reported_once(store, queued.id, expected)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGTERM", "end of input"])
async def test_a_worker_that_is_stopped_hands_its_sessions_over_and_exits_cleanly(
    settings: Settings, store: Store, video: Path, model: Path, expected: list[Reported], how: str
) -> None:
    await store.workers.register(a_worker(load(model), "announces-the-model"))
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
    assert "w1" not in [worker.id for worker in await store.workers.live()]
    checkpoint = await store.log.load_resume_point(queued.id)
    assert checkpoint is not None
    assert checkpoint.frames == (await store.sessions.get(queued.id)).frames
    async with worker_here(settings, store, model):
        await until(store, lambda: in_state(store, queued.id, "completed"))
    await assert_reported_once(store, queued.id, expected)


async def test_a_stop_request_takes_effect(settings: Settings, store: Store, video: Path, model: Path) -> None:
    async with worker_here(settings, store, model):
        queued = await submit(store, settings, upload=video, pace="realtime")
        await until(store, lambda: in_state(store, queued.id, "running"))
        await store.sessions.request_stop(queued.id)
        await until(store, lambda: in_state(store, queued.id, "stopped"))


@pytest.mark.slow
async def test_a_worker_takes_no_more_live_sessions_than_its_capacity_holds(
    settings: Settings, store: Store, video: Path, model: Path
) -> None:
    await store.workers.register(WorkerInfo("announces-more", 100.0, a_worker(load(model)).models))
    queued = [await submit(store, settings, upload=video, pace="realtime") for _ in range(3)]

    def small(detector: Detector) -> WorkerInfo:
        return WorkerInfo("w1", 25.0, a_worker(detector).models)

    async with worker_here(settings, store, model, small):
        await until(store, lambda: in_state(store, queued[2].id, "running", "completed"))
    entries = (await store.log.read(after="0", limit=1000)).entries
    order = [(entry.event.session_id, entry.event.state) for entry in entries if entry.event.type == "session.state"]
    third_starts = order.index((queued[2].id, "starting"))
    assert {(session.id, "completed") for session in queued[:2]} & set(order[:third_starts])


@pytest.mark.slow
async def test_a_camera_behind_a_web_address_takes_no_place_of_a_file(
    settings: Settings, store: Store, model: Path
) -> None:
    async with worker_here(settings, store, model, max_fast_streams=1):
        with http_camera() as url:
            cameras = [await submit(store, settings, url=url) for _ in range(3)]
            for camera in cameras:
                await until(store, lambda camera=camera: frames_are(store, camera.id, 1))  # type: ignore[misc]


async def test_many_sessions_run_at_a_time_and_each_publishes_its_own_events(
    settings: Settings, store: Store, video: Path, model: Path, expected: list[Reported]
) -> None:
    async with worker_here(settings, store, model):
        paces = ("fast", "realtime", "fast", "fast")
        queued = [await submit(store, settings, upload=video, pace=pace) for pace in paces]  # type: ignore[arg-type]
        for session in queued:
            await until(store, lambda session=session: in_state(store, session.id, "completed"))  # type: ignore[misc]
    for session in queued:
        await assert_reported_once(store, session.id, expected)


async def test_capacity_is_measured_unless_the_operator_states_it(settings: Settings, model: Path) -> None:
    detectors = load_detectors(settings)
    assert list(detectors) == ["tiny"]
    assert await measure_capacity_steps_per_s(detectors, settings) == 200.0
    measured = settings.model_copy(update={"worker_capacity_steps_per_s": None, "worker_max_sessions": 3})
    assert 0 < await measure_capacity_steps_per_s(detectors, measured) <= 3 * 10.0


@pytest.mark.parametrize(("max_sessions", "full_batches"), [(1, False), (10**6, True)])
async def test_full_batches_are_compiled_for_a_measurement_only_if_single_steps_are_not_enough_for_all_sessions(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, max_sessions: int, full_batches: bool
) -> None:
    twins: list[Detector] = []
    twin = Detector.twin

    def note(detector: Detector) -> Detector:
        twins.append(detector)
        return twin(detector)

    monkeypatch.setattr(Detector, "twin", note)
    measured = settings.model_copy(update={"worker_capacity_steps_per_s": None, "worker_max_sessions": max_sessions})
    capacity_steps_per_s = await measure_capacity_steps_per_s(load_detectors(settings), measured)
    assert bool(twins) is full_batches
    assert (capacity_steps_per_s == max_sessions * 10.0) is not full_batches


def test_a_model_that_takes_many_times_the_work_is_clearly_slower(model: Path) -> None:
    speed = relative_speed(Detector.load(model, mode="clip"), [load(model)])
    assert speed is not None
    assert 0 < speed < 1


def test_steps_per_second_count_every_frame_of_a_full_batch(model: Path) -> None:
    seconds = iter([0.0, 0.1, 0.2, 0.5])
    steps_per_s = measure_steps_per_s(load(model), 0.5, clock=lambda: next(seconds))
    assert steps_per_s == 2 * MAX_BATCH / 0.5


def test_a_missing_model_is_named(settings: Settings) -> None:
    with pytest.raises(CheckpointNotFoundError, match="nothing-here"):
        load_detectors(settings.model_copy(update={"models": ["nothing-here"]}))


async def test_a_session_that_the_worker_cannot_even_start_fails_and_the_others_continue(
    settings: Settings, store: Store, video: Path, model: Path, expected: list[Reported]
) -> None:
    async with worker_here(settings, store, model) as metrics:
        impossible = await submit(store, settings, upload=video, labels=("a label of another version",))
        queued = await submit(store, settings, upload=video)
        await until(store, lambda: in_state(store, impossible.id, "failed"))
        await until(store, lambda: in_state(store, queued.id, "completed"))
    await assert_reported_once(store, queued.id, expected)
    assert (await store.sessions.get(impossible.id)).code == "internal"
    assert metrics.poison.labels("sessions")._value.get() == 1


async def test_a_claim_that_fails_unexpectedly_does_not_end_the_worker(
    settings: Settings, store: Store, video: Path, model: Path, expected: list[Reported]
) -> None:
    class Unreadable:
        """The real workers' part of the store; the first claim meets a record that cannot be read."""

        claims = 0

        def __getattr__(self, name: str) -> object:
            return getattr(store.workers, name)

        async def claim(self, *arguments: Any, **named: Any) -> SessionRecord | None:
            self.claims += 1
            if self.claims == 1:
                raise ValueError("unreadable")
            return await store.workers.claim(*arguments, **named)

    disturbed = dataclasses.replace(store, workers=cast(Workers, Unreadable()))
    async with worker_here(settings, disturbed, model) as metrics:
        queued = await submit(store, settings, upload=video)
        await until(store, lambda: in_state(store, queued.id, "completed"))
    await assert_reported_once(store, queued.id, expected)
    assert metrics.poison.labels("claims")._value.get() == 1
