"""A session of a camera continues through failures of the camera, and publishes them."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from model.gaps import GAP_S
from tests.support.live_place import Place, a_place
from tests.support.live_servers import ENDLESS, http_camera
from tests.support.rtsp_server import RtspServer, rtsp_server
from tests.support.session_kit import decoders_of, states, write_lively_video
from tests.support.tiny_model import checkpoint_for

# A busy machine opens a camera in this time.
SILENT_S = 10.0
SLOW_S = 0.35


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return checkpoint_for(write_lively_video(folder / "v.mp4", count=120), folder)


@pytest.fixture
async def place(model: Path, tmp_path: Path) -> AsyncIterator[Place]:
    async with a_place(tmp_path, model) as opened:
        yield opened


@pytest.fixture
def camera() -> Iterator[RtspServer]:
    with rtsp_server() as server:
        yield server


async def test_a_camera_that_comes_back_is_reconnected_with_a_gap(place: Place, camera: RtspServer) -> None:
    async with place.session(camera.url("slow")) as running:
        began_s = time.monotonic()
        before = await running.runs(beyond_s=0.5)
        assert before.video is not None
        assert (before.video.codec, before.video.width, before.video.rate_hz) == ("h264", 64, 8.0)
        assert before.video.live
        camera.stop()
        lost = await running.reaches(lambda record: record.state == "reconnecting")
        tried_again = await running.reaches(lambda record: record.reconnects > lost.reconnects)
        camera.start()
        after = await running.runs(beyond_s=lost.position_s)
        back_s = time.monotonic()
        await running.reaches(lambda record: record.position_s > after.position_s)
        await running.stop()
        events, [gap] = await running.events(), await running.gaps()
    assert states(events) == ["queued", "starting", "running", "reconnecting", "running", "stopped"]
    assert 0 < gap.gap_s < back_s - began_s
    assert gap.gap_s == pytest.approx(gap.decided_s - lost.position_s, abs=0.01)
    for event in events:
        if event.type == "action.end":
            assert not event.start_s < gap.decided_s - gap.gap_s < event.end_s - 0.0015
    assert place.metrics.reconnects._value.get() >= tried_again.reconnects > lost.reconnects >= 1
    assert before.last_frame_at is not None
    assert tried_again.last_frame_at is not None
    assert after.last_frame_at is not None
    assert before.last_frame_at <= tried_again.last_frame_at < after.last_frame_at
    decided = [event.time for event in events if event.type in ("action.start", "action.end")]
    assert (await running.record()).last_action_at == (decided[-1] if decided else None)


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_a_camera_that_falls_silent_is_opened_again(
    model: Path, tmp_path: Path, camera: RtspServer, transport: str
) -> None:
    async with (
        a_place(tmp_path, model, source_timeout_s=SILENT_S) as place,
        place.session(camera.url("slow"), transport=transport) as running,
    ):
        await running.runs(beyond_s=0.1)
        camera.silence()
        silent = await running.reaches(lambda record: record.state == "reconnecting")
        camera.stop()
        camera.start()
        await running.runs(beyond_s=silent.position_s + 1.0)
        [gap] = await running.gaps()
    assert gap.gap_s >= SILENT_S


@pytest.mark.slow
async def test_a_decoder_that_dies_is_a_gap_and_not_the_end(place: Place, camera: RtspServer) -> None:
    async with place.session(camera.url("fast")) as running:
        await running.runs(beyond_s=0.2)
        for deaths in range(1, 4):
            for pid in decoders_of(os.getpid()):
                os.kill(pid, signal.SIGKILL)
            await running.reaches_gaps(deaths)
        assert states(await running.events()).count("reconnecting") == 3


async def test_a_camera_that_is_away_for_longer_than_the_caller_waits_fails_the_session(
    place: Place, camera: RtspServer
) -> None:
    async with place.session(camera.url("slow"), max_down_s=1.5) as running:
        await running.runs(beyond_s=0.1)
        camera.stop()
        await running.task
        record, events = await running.record(), await running.events()
    assert (record.state, record.code) == ("failed", "source_unreachable")
    assert states(events) == ["queued", "starting", "running", "reconnecting", "failed"]


@pytest.mark.slow
async def test_a_broadcast_that_ends_is_opened_again_and_a_film_that_ends_is_complete(place: Place) -> None:
    with http_camera() as host:
        async with place.session(f"{host}/once") as running:
            await running.reaches_gaps(1)
            await running.reaches(lambda record: record.frames > 8)
            assert "reconnecting" in states(await running.events())
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


@pytest.mark.slow
async def test_a_stop_does_not_wait_for_the_source_in_any_state(
    model: Path, tmp_path: Path, camera: RtspServer
) -> None:
    async with a_place(tmp_path, model, source_timeout_s=600.0) as place:
        await stop_in_every_state(place, camera)


async def stop_in_every_state(place: Place, camera: RtspServer) -> None:
    async with place.session(camera.url("slow")) as running:
        await running.runs(beyond_s=0.1)
        await running.stop()
    async with place.session(camera.url("slow")) as running:
        await running.runs(beyond_s=0.1)
        camera.silence()
        await running.stop()
    async with place.session(camera.url("slow")) as running:
        # The camera takes the connection and says nothing.
        await running.reaches(lambda record: record.state == "starting" and decoders_of(os.getpid()) != [])
        await running.stop()
    camera.stop()
    camera.start()
    async with place.session(camera.url("slow")) as running:
        await running.runs(beyond_s=0.1)
        camera.stop()
        await running.reaches(lambda record: record.state == "reconnecting" and decoders_of(os.getpid()) == [])
        await running.stop()


@pytest.mark.parametrize("away_s", [0.0, GAP_S])
async def test_another_worker_continues_in_the_same_media_time(place: Place, camera: RtspServer, away_s: float) -> None:
    """And with what the detector remembers, unless too much was missed."""
    async with place.session(camera.url("slow")) as first:
        await first.runs(beyond_s=0.3)
        first.session.hand_over()
        await first.task
        handed_over = await first.record()
        await place.store.workers.release("w1")
        await asyncio.sleep(away_s)
        async with place.session() as second:
            after = await second.runs(beyond_s=handed_over.position_s)
            (row, *_) = await place.store.log.read_scores(after.id, after_s=handed_over.position_s)
            hole_s = row.pts_s - handed_over.position_s
            assert hole_s > away_s
            assert [gap.gap_s for gap in await second.gaps()] == (
                [pytest.approx(hole_s, abs=0.01)] if hole_s > GAP_S else []
            )
            assert after.started_at == handed_over.started_at


async def test_a_change_of_the_frame_size_shows_in_the_session(place: Place, camera: RtspServer) -> None:
    async with place.session(camera.url("fast")) as running:
        await running.runs(beyond_s=0.1)
        camera.change_size()
        await running.reaches(lambda record: record.video is not None and record.video.width == 96)
        await running.runs(beyond_s=(await running.record()).position_s + 0.5)
        assert states(await running.events()) == ["queued", "starting", "running"]


@pytest.mark.slow
async def test_a_camera_that_comes_back_with_another_codec_is_reconnected(place: Place, camera: RtspServer) -> None:
    async with place.session(camera.url("slow")) as running:
        before = await running.runs(beyond_s=0.1)
        camera.stop()
        camera.start("jpeg")
        after = await running.reaches(lambda record: record.video is not None and record.video.codec == "mjpeg")
        await running.runs(beyond_s=after.position_s + 0.3)
        assert before.video is not None
        assert after.video is not None
        assert (before.video.codec, before.video.width) == ("h264", after.video.width)
        assert states(await running.events()) == ["queued", "starting", "running", "reconnecting", "running"]


async def test_a_detector_that_is_too_slow_sees_the_newest_frames(place: Place, camera: RtspServer) -> None:
    async with place.session(camera.url("fast")) as running:
        push = place.engine.push

        async def slow_push(*arguments: object, **options: object) -> object:
            await asyncio.sleep(SLOW_S)
            return await push(*arguments, **options)  # type: ignore[arg-type]

        place.engine.push = slow_push  # type: ignore[method-assign,assignment]
        await running.runs(beyond_s=3.0)
        record = await running.record()
    assert place.dropped("newer_frame") >= 4
    assert (await running.record()).dropped_frames >= 4
    assert record.frames < record.position_s / SLOW_S + 5


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ENDLESS)
async def test_a_broadcast_over_http_that_breaks_off_is_followed_on_in_the_same_media_time(
    place: Place, suffix: str
) -> None:
    """Its timestamps start again from zero, and its last chunk is missing."""
    with http_camera() as host:
        async with place.session(f"{host}/endless/cut-once.{suffix}?chunked") as running:
            await running.runs(beyond_s=1.0)
            await asyncio.to_thread(urlopen, f"{host}/break-off")
            [gap] = await running.reaches_gaps(1)
            lost_at_s = await running.lost_at_s()
            await running.runs(beyond_s=gap.decided_s + 1.0)
            await running.stop()
            assert states(await running.events()) == [
                *("queued", "starting", "running", "reconnecting", "running", "stopped")
            ]
    assert gap.gap_s == pytest.approx(gap.decided_s - lost_at_s, abs=0.01)


@pytest.mark.slow
async def test_a_playlist_that_gets_an_end_completes_its_session_there(place: Place) -> None:
    with http_camera() as host:
        async with place.session(f"{host}/event.m3u8") as running:
            await running.task
            record = await running.record()
            assert states(await running.events()) == ["queued", "starting", "running", "reconnecting", "completed"]
    assert record.video is not None
    assert record.video.live
    # It is joined three segments before the newest, and has seven in all.
    assert record.position_s < 7.0
