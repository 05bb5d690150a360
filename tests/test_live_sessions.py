"""A session of a camera goes on through whatever the camera does, and tells of it."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from live_servers import http_camera
from prometheus_client import CollectorRegistry
from rtsp_server import RtspServer, rtsp_server
from session_kit import a_worker, decoders_of, make_settings, states, store_of, submit, write_lively_video
from tiny_model import checkpoint_for

from model.detector import Detector
from service.blobs import Blobs
from service.detection import GAP_S
from service.engine import Engine
from service.push.gate import PushGate, open_gate
from service.schemas import Event, SessionGapEvent, UrlSource, event_key
from service.session import Session
from service.settings import Settings
from service.store.base import SessionRecord, Store
from service.telemetry import WorkerMetrics


@dataclass
class Running:
    """A session that runs in this process, and what its store says of it."""

    session: Session
    store: Store
    task: asyncio.Task[None]

    async def record(self) -> SessionRecord:
        return await self.store.get_session(self.session.record.id)

    async def events(self) -> list[Event]:
        return await self.store.read_events(self.session.record.id)

    async def gaps(self) -> list[SessionGapEvent]:
        return [event for event in await self.events() if event.type == "session.gap"]

    async def reaches(self, condition: Callable[[SessionRecord], bool]) -> SessionRecord:
        """Wait for a commit after which the session is so."""
        async with asyncio.timeout(40):
            while not condition(record := await self.record()):
                await self.store.wait_log(await self.store.log_end(), timeout_s=0.05)
        return record

    async def runs(self, *, beyond_s: float = 0.0) -> SessionRecord:
        return await self.reaches(lambda record: record.state == "running" and record.position_s > beyond_s)

    async def stop(self) -> float:
        """How long that took."""
        asked_s = time.monotonic()
        self.session.stop()
        await self.task
        assert (await self.record()).state == "stopped"
        return time.monotonic() - asked_s


class Place:
    """One worker's surroundings."""

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
        """Run a new session of this camera; without one, whichever waits for a worker."""
        await self.store.register_worker(a_worker(self._detector))
        if url:
            await submit(self.store, self.settings, source=UrlSource.model_validate({"url": url, **options}))
        record = await self.store.claim_session("w1")
        assert record is not None
        session = Session(record, self.store, self.engine, self.metrics, self.settings, self.gate, self.blobs)
        running = Running(session, self.store, asyncio.create_task(session.run()))
        yield running
        session.stop()
        await running.task
        assert decoders_of(os.getpid()) == []
        keys = [event_key(event.id) for event in await running.events()]
        assert keys == sorted(set(keys))

    def dropped(self, reason: str) -> float:
        return self.metrics.dropped.labels(reason)._value.get()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return checkpoint_for(write_lively_video(folder / "v.mp4", count=120), folder)


@pytest.fixture
async def place(model: Path, tmp_path: Path) -> AsyncIterator[Place]:
    settings = make_settings(tmp_path / "data", model)
    detector, metrics, store = Detector.load(model), WorkerMetrics(CollectorRegistry()), store_of(settings)
    async with Engine({"tiny": detector}, metrics) as engine, open_gate() as gate:
        yield Place(settings, store, engine, metrics, detector, gate)
    await store.close()


@pytest.fixture
def camera() -> Iterator[RtspServer]:
    with rtsp_server() as server:
        yield server


async def test_a_camera_that_comes_back_is_followed_on_and_the_gap_is_told(place: Place, camera: RtspServer) -> None:
    async with place.session(camera.url("slow")) as running:
        before = await running.runs(beyond_s=0.5)
        assert before.video is not None
        assert (before.video.codec, before.video.width, before.video.rate_hz) == ("h264", 64, 8.0)
        assert before.video.live
        went_s = time.monotonic()
        camera.stop()
        lost = await running.reaches(lambda record: record.state == "reconnecting")
        camera.start()
        after = await running.runs(beyond_s=lost.position_s)
        back_s = time.monotonic()
        await running.reaches(lambda record: record.position_s > after.position_s)
        await running.stop()
        events, [gap] = await running.events(), await running.gaps()
    assert states(events) == ["queued", "starting", "running", "reconnecting", "running", "stopped"]
    assert 0 < gap.gap_s <= back_s - went_s + 0.5
    assert gap.gap_s == pytest.approx(gap.decided_s - lost.position_s, abs=0.01)
    for event in events:
        if event.type == "action.end":
            assert not event.start_s < gap.decided_s - gap.gap_s < event.end_s - 0.0015
    assert place.metrics.reconnects._value.get() >= 1


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_a_camera_that_falls_silent_is_opened_again(place: Place, camera: RtspServer, transport: str) -> None:
    async with place.session(camera.url("slow"), transport=transport) as running:
        await running.runs(beyond_s=0.1)
        camera.silence()
        silent = await running.reaches(lambda record: record.state == "reconnecting")
        camera.stop()
        camera.start()
        await running.runs(beyond_s=silent.position_s + 1.0)
        [gap] = await running.gaps()
    # The deadline of the tests' settings, and the way back.
    assert 3.0 <= gap.gap_s < 30


async def test_a_decoder_that_dies_is_a_gap_and_not_the_end(place: Place, camera: RtspServer) -> None:
    async with place.session(camera.url("fast")) as running:
        for _ in range(4):
            position_s = (await running.record()).position_s
            await running.runs(beyond_s=position_s + 0.2)
            for pid in decoders_of(os.getpid()):
                os.kill(pid, signal.SIGKILL)
        await running.reaches(lambda record: record.state == "reconnecting")
        await running.runs(beyond_s=(await running.record()).position_s)
        assert len(await running.gaps()) >= 3


async def test_a_camera_that_is_away_for_longer_than_the_caller_waits_fails_the_session(
    place: Place, camera: RtspServer
) -> None:
    async with place.session(camera.url("slow"), max_down_s=1.5) as running:
        await running.runs(beyond_s=0.1)
        camera.stop()
        gone_s = time.monotonic()
        await running.task
        assert 1.0 < time.monotonic() - gone_s < 10
        record, events = await running.record(), await running.events()
    assert (record.state, record.code) == ("failed", "source_unreachable")
    assert states(events) == ["queued", "starting", "running", "reconnecting", "failed"]


async def test_a_broadcast_that_ends_is_opened_again_and_a_film_that_ends_is_complete(place: Place) -> None:
    with http_camera() as host:
        async with place.session(f"{host}/once") as running:
            await running.reaches(lambda record: record.state == "reconnecting")
            await running.reaches(lambda record: record.frames > 8)
            assert len(await running.gaps()) >= 1
        async with place.session(f"{host}/ended.m3u8") as film:
            await film.task
            assert (await film.record()).state == "completed"


async def test_a_first_connection_that_fails_ends_the_session(place: Place, camera: RtspServer) -> None:
    for url, code in (
        (camera.url("slow", user="user:no"), "source_unauthorized"),
        (camera.url("nothing"), "source_unreachable"),
    ):
        async with place.session(url) as running:
            await running.task
            record = await running.record()
        assert (record.state, record.code) == ("failed", code)
        assert states(await running.events()) == ["queued", "starting", "failed"]


async def test_a_stop_takes_effect_within_two_seconds_in_every_state(place: Place, camera: RtspServer) -> None:
    async with place.session(camera.url("slow")) as running:
        await running.runs(beyond_s=0.1)
        assert await running.stop() < 2
    async with place.session(camera.url("slow")) as running:
        await running.runs(beyond_s=0.1)
        camera.silence()
        await running.reaches(lambda record: record.state == "reconnecting")
        assert await running.stop() < 2
    async with place.session(camera.url("slow")) as running:
        # The camera takes the connection and says nothing.
        await running.reaches(lambda record: record.state == "starting" and decoders_of(os.getpid()) != [])
        assert await running.stop() < 2
    camera.stop()
    camera.start()
    async with place.session(camera.url("slow")) as running:
        await running.runs(beyond_s=0.1)
        camera.stop()
        await running.reaches(lambda record: record.state == "reconnecting" and decoders_of(os.getpid()) == [])
        assert await running.stop() < 2


@pytest.mark.parametrize("away_s", [0.0, GAP_S])
async def test_another_worker_goes_on_in_the_same_media_time(place: Place, camera: RtspServer, away_s: float) -> None:
    """And with what the detector remembers, unless too much was missed."""
    async with place.session(camera.url("slow")) as first:
        await first.runs(beyond_s=0.3)
        first.session.hand_over()
        await first.task
        handed_over = await first.record()
        await place.store.release_worker("w1")
        await asyncio.sleep(away_s)
        async with place.session() as second:
            after = await second.runs(beyond_s=handed_over.position_s)
            (row, *_) = await place.store.read_scores(after.id, after_s=handed_over.position_s)
            hole_s = row.pts_s - handed_over.position_s
            assert away_s < hole_s < away_s + 5.0
            assert [gap.gap_s for gap in await second.gaps()] == (
                [pytest.approx(hole_s, abs=0.01)] if hole_s > GAP_S else []
            )
            assert after.started_at == handed_over.started_at


async def test_a_change_of_the_picture_size_is_seen_in_the_session(place: Place, camera: RtspServer) -> None:
    async with place.session(camera.url("fast")) as running:
        await running.runs(beyond_s=0.1)
        camera.change_size()
        await running.reaches(lambda record: record.video is not None and record.video.width == 96)
        await running.runs(beyond_s=(await running.record()).position_s + 0.5)
        assert states(await running.events()) == ["queued", "starting", "running"]


async def test_a_camera_that_comes_back_with_another_codec_is_followed_on(place: Place, camera: RtspServer) -> None:
    async with place.session(camera.url("slow")) as running:
        before = await running.runs(beyond_s=0.1)
        camera.stop()
        camera.start("jpeg")
        after = await running.reaches(lambda record: record.video is not None and record.video.codec == "mjpeg")
        await running.runs(beyond_s=after.position_s + 0.3)
        assert (before.video.codec, before.video.width) == ("h264", after.video.width)
        assert states(await running.events()) == ["queued", "starting", "running", "reconnecting", "running"]


async def test_a_detector_that_is_too_slow_sees_the_newest_frames(place: Place, camera: RtspServer) -> None:
    async with place.session(camera.url("fast")) as running:
        push = place.engine.push

        async def slow_push(*arguments: object) -> object:
            await asyncio.sleep(0.35)
            return await push(*arguments)  # type: ignore[arg-type]

        place.engine.push = slow_push  # type: ignore[method-assign,assignment]
        await running.runs(beyond_s=3.0)
        assert running.session.lag_s < 0.8
        record = await running.record()
    assert place.dropped("newer_frame") >= 4
    assert record.frames < 15
