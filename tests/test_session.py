"""A session tells what its video holds, once, whatever dies on the way."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from made_videos import cut, write_audio
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry
from session_kit import (
    Told,
    a_worker,
    actions,
    decoders_of,
    expected_actions,
    make_settings,
    states,
    store_of,
    submit,
    write_lively_video,
)
from tiny_model import checkpoint_for
from video_server import serve_folder

from model.detector import Detector, Stream
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

    def __init__(self, detector: Detector) -> None:
        super().__init__(detector._model, detector.version)
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

    async def claim(self) -> Session:
        await self.store.register_worker(a_worker(self.detector))
        record = await self.store.claim_session("w1")
        assert record is not None
        return Session(record, self.store, self.engine, self.metrics, self.settings, self.gate)

    async def run(self, **what: object) -> tuple[SessionRecord, list[Event]]:
        """Submit, run to the end, and give the session and its events."""
        await self.store.register_worker(a_worker(self.detector))
        queued = await submit(self.store, self.settings, **what)  # type: ignore[arg-type]
        await (await self.claim()).run()
        return await self.told(queued.id)

    async def told(self, session_id: str) -> tuple[SessionRecord, list[Event]]:
        return await self.store.get_session(session_id), await self.store.read_events(session_id)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lively_video(tmp_path_factory.mktemp("video") / "v.mp4", count=120)


@pytest.fixture(scope="module")
def model(video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint_for(video, tmp_path_factory.mktemp("model"))


@pytest.fixture
async def place(model: Path, tmp_path: Path) -> AsyncIterator[Place]:
    settings = make_settings(tmp_path / "data", model)
    detector = DisturbedDetector(Detector.load(model))
    metrics = WorkerMetrics(CollectorRegistry())
    store = store_of(settings)
    async with Engine({"tiny": detector}, metrics) as engine, open_gate() as gate:
        yield Place(settings, store, detector, engine, metrics, gate)
    await store.close()


@pytest.fixture(scope="module")
def expected(video: Path, model: Path) -> list[Told]:
    told = expected_actions(video, Detector.load(model))
    assert len(told) >= 6
    return told


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


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


async def test_a_session_tells_exactly_what_the_detector_sees_in_the_video(
    place: Place, video: Path, expected: list[Told]
) -> None:
    record, events = await place.run(upload=video)
    assert_well_told(record, events, expected)
    assert states(events) == ["queued", "starting", "running", "completed"]
    assert record.frames == 40
    assert record.position_s == pytest.approx(3.9)
    assert record.video is not None
    assert (record.video.codec, record.video.width) == ("h264", 160)
    assert record.video.duration_s == pytest.approx(4.0)
    assert record.started_at is not None
    assert record.ended_at is not None
    assert record.created_at <= record.started_at <= record.ended_at
    assert record.warnings == ()
    assert decoders_of(os.getpid()) == []


async def test_events_carry_the_model_and_the_latency_and_a_snapshot_is_kept(place: Place, video: Path) -> None:
    record, events = await place.run(upload=video)
    for event in events:
        assert event.model == "tiny"
        if event.type in ("action.start", "action.end"):
            assert event.model_version == place.detector.version
            assert event.latency_s.total >= 0
            assert event.latency_s.infer > 0
    files = contents(place.settings.snapshots_dir)
    assert list(files) == [f"{record.id}.jpg"]
    assert files[f"{record.id}.jpg"].startswith(b"\xff\xd8")


async def test_only_the_asked_labels_are_told_and_the_scores_of_every_frame_are_kept(
    place: Place, video: Path, expected: list[Told]
) -> None:
    record, events = await place.run(upload=video, labels=("punch",))
    assert actions(events) == [told for told in expected if told[1] == "punch"]
    rows = await place.store.read_scores(record.id)
    np.testing.assert_allclose([row.pts_s for row in rows], np.arange(40) / 10, atol=1e-6)
    assert all(len(row.scores) == 1 and 0 <= row.scores[0] <= 1 for row in rows)


async def test_killed_decoders_lose_nothing_and_repeat_nothing(place: Place, video: Path, expected: list[Told]) -> None:
    place.detector.before_step = dict.fromkeys((1, 12, 31), kill_decoders)
    record, events = await place.run(upload=video)
    assert_well_told(record, events, expected)
    assert record.frames == 40
    assert states(events) == ["queued", "starting", "running", "completed"]
    assert [round(row.pts_s * 10) for row in await place.store.read_scores(record.id)] == list(range(40))


async def test_a_decoder_that_always_dies_fails_the_session(place: Place, video: Path) -> None:
    await place.store.register_worker(a_worker(place.detector))
    queued = await submit(place.store, place.settings, upload=video)
    running = asyncio.create_task((await place.claim()).run())
    while not running.done():
        kill_decoders()
        await asyncio.sleep(0.02)
    await running
    record, events = await place.told(queued.id)
    assert (record.state, record.code) == ("failed", "decode_failed")
    assert states(events)[-1] == "failed"


@pytest.mark.parametrize("step", [1, 17, 36])
async def test_a_session_whose_worker_vanishes_is_told_to_the_end_by_the_next_with_the_same_ids(
    place: Place, video: Path, expected: list[Told], step: int
) -> None:
    await place.store.register_worker(a_worker(place.detector))
    queued = await submit(place.store, place.settings, upload=video)
    first = asyncio.create_task((await place.claim()).run())
    loop = asyncio.get_running_loop()
    place.detector.before_step = {step: lambda: loop.call_soon_threadsafe(first.cancel)}
    with pytest.raises(asyncio.CancelledError):
        await first
    await place.store.release_worker("w1")
    await (await place.claim()).run()
    record, events = await place.told(queued.id)
    assert_well_told(record, events, expected)
    assert record.frames == 40


async def test_a_session_that_is_handed_over_goes_on_from_its_very_last_frame(
    place: Place, video: Path, expected: list[Told]
) -> None:
    await place.store.register_worker(a_worker(place.detector))
    queued = await submit(place.store, place.settings, upload=video)
    session = await place.claim()
    loop = asyncio.get_running_loop()
    place.detector.before_step = {20: lambda: loop.call_soon_threadsafe(session.hand_over)}
    await session.run()
    checkpoint = await place.store.load_checkpoint(queued.id)
    record, events = await place.told(queued.id)
    assert record.state == "running"
    assert checkpoint is not None
    assert 20 <= checkpoint.frames == record.frames < 40
    await place.store.release_worker("w1")
    await (await place.claim()).run()
    record, events = await place.told(queued.id)
    assert_well_told(record, events, expected)
    assert place.detector.steps == 40


async def test_a_worker_that_lost_its_lease_writes_nothing_more(place: Place, video: Path) -> None:
    await place.store.register_worker(a_worker(place.detector))
    queued = await submit(place.store, place.settings, upload=video, pace="realtime")
    session = await place.claim()
    running = asyncio.create_task(session.run())
    await reaches(place, queued.id, "running")
    await place.store.release_worker("w1")
    await asyncio.wait_for(running, 5)
    record, _ = await place.told(queued.id)
    assert record.state == "running"
    assert decoders_of(os.getpid()) == []


async def reaches(place: Place, session_id: str, state: str) -> None:
    cursor = "0"
    async with asyncio.timeout(20):
        while (await place.store.get_session(session_id)).state != state:
            await place.store.wait_log(cursor, timeout_s=20)
            cursor = await place.store.log_end()


async def test_a_stop_takes_effect_at_once_while_running_and_while_opening(place: Place, video: Path) -> None:
    await place.store.register_worker(a_worker(place.detector))
    with serve_folder(video.parent) as host:
        for what, state in (({"upload": video}, "running"), ({"url": f"http://{host}/stall/v.mp4"}, "starting")):
            queued = await submit(place.store, place.settings, pace="realtime", **what)
            session = await place.claim()
            running = asyncio.create_task(session.run())
            await reaches(place, queued.id, state)
            asked_s = time.monotonic()
            session.stop()
            await running
            assert time.monotonic() - asked_s < 2
            record, events = await place.told(queued.id)
            assert record.state == "stopped"
            assert record.ended_at is not None
            assert states(events)[-1] == "stopped"
    assert decoders_of(os.getpid()) == []


async def test_what_is_open_when_a_session_stops_is_ended(place: Place, video: Path) -> None:
    await place.store.register_worker(a_worker(place.detector))
    queued = await submit(place.store, place.settings, upload=video)
    session = await place.claim()
    loop = asyncio.get_running_loop()
    place.detector.before_step = {20: lambda: loop.call_soon_threadsafe(session.stop)}
    await session.run()
    _, events = await place.told(queued.id)
    told = [event.type for event in events]
    assert told.count("action.start") == told.count("action.end") > 0


async def test_a_hole_in_the_stream_is_told_and_detection_starts_anew(place: Place, tmp_path: Path) -> None:
    pts = [*range(60), *range(60 + 5 * 30, 120 + 5 * 30)]
    _, events = await place.run(upload=write_lively_video(tmp_path / "gap.mkv", count=120, pts=pts))
    gaps = [event for event in events if event.type == "session.gap"]
    assert [(round(gap.decided_s, 1), round(gap.gap_s, 1)) for gap in gaps] == [(7.0, 5.1)]
    for event in events:
        if event.type == "action.end":
            assert not (event.start_s < 2 and event.end_s > 2)


async def test_a_source_that_cannot_be_used_fails_the_session_with_its_code(place: Place, tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    for upload, code in ((text, "source_unsupported"), (write_audio(tmp_path / "a.m4a"), "no_video_stream")):
        record, events = await place.run(upload=upload)
        assert (record.state, record.code) == ("failed", code)
        assert record.detail
        assert states(events) == ["queued", "starting", "failed"]
    record, _ = await place.run(url="ftp://127.0.0.1/v.mp4")
    assert (record.state, record.code) == ("failed", "source_forbidden")


async def test_a_cut_video_is_completed_with_a_warning(place: Place, video: Path, tmp_path: Path) -> None:
    record, _ = await place.run(upload=cut(Path(shutil.copyfile(video, tmp_path / "cut.mp4")), 0.6))
    assert record.state == "completed"
    assert record.frames > 20
    assert any("cut short" in warning for warning in record.warnings)


async def test_a_lost_connection_is_made_again_and_nothing_is_lost(
    place: Place, video: Path, expected: list[Told]
) -> None:
    with serve_folder(video.parent) as host:
        record, events = await place.run(url=f"http://{host}/cut-once/v.mp4")
    assert_well_told(record, events, expected)
    assert states(events) == ["queued", "starting", "running", "reconnecting", "running", "completed"]


async def test_a_failure_of_the_detector_fails_only_its_session(place: Place, video: Path) -> None:
    def fail() -> None:
        raise ArithmeticError("no luck")

    place.detector.before_step = {5: fail}
    record, _ = await place.run(upload=video)
    assert (record.state, record.code) == ("failed", "internal")
    record, _ = await place.run(upload=video)
    assert record.state == "completed"
