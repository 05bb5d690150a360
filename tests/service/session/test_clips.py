"""Clips of pushed streams and cameras: the packets around an action's start, stored after the event was published."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from model.checkpoints.checkpoint import save_checkpoint
from model.config import StartRule
from service.event_schemas import Event, EventMediaEvent, event_key
from service.session.clips import CUT_SHORT, LATE
from tests.support.bucket_server import bucket_server
from tests.support.clip_kit import images_of_clip, images_of_video
from tests.support.disturbed_place import kill_decoders
from tests.support.live_place import Place, Running, a_place
from tests.support.made_videos import remuxed
from tests.support.push_kit import Pushing, in_chunks, pushing, slowly
from tests.support.rtsp_server import RtspServer, rtsp_server
from tests.support.session_kit import states, write_lively_video
from tests.support.tiny_model import LABELS, tiny_model

RATE_HZ = 30
REORDERED = {"preset": "fast", "g": "15", "bf": "3", "sc_threshold": "0"}
BEFORE_S, AFTER_S = 0.5, 0.8


def clips_of(events: list[Event]) -> list[EventMediaEvent]:
    return [event for event in events if isinstance(event, EventMediaEvent)]


@pytest.fixture
async def pushed(model: Path, tmp_path: Path) -> AsyncIterator[Pushing]:
    settings = {"clips": ("all",), "clip_before_s": BEFORE_S, "clip_after_s": AFTER_S}
    async with pushing(tmp_path, model, **settings) as service, service.worker():
        yield service


@pytest.mark.parametrize("container", ["mpegts", "matroska"])
async def test_a_clip_of_a_pushed_stream_has_its_frames_at_their_times(
    pushed: Pushing, tmp_path: Path, container: str
) -> None:
    video = write_lively_video(tmp_path / "v.mp4", count=120, codec_options=REORDERED)
    originals = images_of_video(video)
    session = await pushed.submit()
    await pushed.put(session, in_chunks(remuxed(video, container).read_bytes()))
    assert (await pushed.ends(session)).warnings == ()
    events = await pushed.events(session)
    starts = {event.id: event for event in events if event.type == "action.start"}
    clips = clips_of(events)
    assert len(starts) >= 3
    assert {clip.event_id for clip in clips} == starts.keys()
    for clip in clips:
        start = starts[clip.event_id]
        assert (clip.label, clip.start_s) == (start.label, start.start_s)
        assert event_key(clip.id) > event_key(start.id)
        assert clip.from_s <= max(0.0, start.start_s - BEFORE_S) + 0.001
        answer = await pushed.server.http.get(f"{session.links.events}/{start.id}/clip.mp4")
        assert float(answer.headers["clip-from-s"]) == clip.from_s
        assert len(answer.content) == clip.size_bytes
        frames = images_of_clip(answer.content, clip.from_s)
        assert [round(time_s * RATE_HZ) for time_s, _ in frames] == list(
            range(round(clip.from_s * RATE_HZ), round(clip.from_s * RATE_HZ) + len(frames))
        )
        for time_s, image in frames:
            assert (image == originals[round(time_s * RATE_HZ)]).all()
        ends_s = frames[-1][0]
        assert clip.complete == (ends_s >= start.start_s + AFTER_S - 0.2)
        assert clip.problem == (None if clip.complete else CUT_SHORT)
    assert any(clip.complete for clip in clips)


async def test_a_part_of_a_stored_clip_and_a_still_of_it_can_be_had(pushed: Pushing, tmp_path: Path) -> None:
    video = write_lively_video(tmp_path / "v.mp4", count=120, codec_options=REORDERED)
    session = await pushed.submit()
    await pushed.put(session, in_chunks(remuxed(video, "mpegts").read_bytes()))
    await pushed.ends(session)
    events = await pushed.events(session)
    clip = next(clip for clip in clips_of(events) if clip.complete and clip.start_s > 1.0)
    path = f"{session.links.events}/{clip.event_id}"
    part = await pushed.server.http.get(f"{path}/clip.mp4", params={"before_s": 0, "after_s": 0.2})
    frames = images_of_clip(part.content, float(part.headers["clip-from-s"]))
    assert clip.from_s <= frames[0][0] <= clip.start_s
    assert clip.start_s + 0.1 <= frames[-1][0] < clip.start_s + 0.4
    still = await pushed.server.http.get(f"{path}/still.jpg")
    assert (still.status_code, still.headers["content-type"]) == (200, "image/jpeg")
    ends = [event for event in events if event.type == "action.end"]
    (end,) = [end for end in ends if (end.start_s, end.label) == (clip.start_s, clip.label)]
    of_end = await pushed.server.http.get(f"{session.links.events}/{end.id}/clip.mp4")
    assert len(of_end.content) == clip.size_bytes


async def test_without_the_setting_no_clip_is_kept(model: Path, tmp_path: Path, stream: bytes) -> None:
    async with pushing(tmp_path, model) as service, service.worker():
        session = await service.submit()
        await service.put(session, in_chunks(stream))
        await service.ends(session)
        events = await service.events(session)
        assert clips_of(events) == []
        start = next(event for event in events if event.type == "action.start")
        answer = await service.server.http.get(f"{session.links.events}/{start.id}/clip.mp4")
        assert answer.status_code == 404
        assert "CAKE_CLIPS" in answer.json()["detail"]


async def test_on_a_full_disk_the_session_warns_and_continues(model: Path, tmp_path: Path, stream: bytes) -> None:
    async with (
        pushing(tmp_path, model, clips=("kick",), clip_after_s=0.5, min_free_bytes=2**62) as service,
        service.worker(),
    ):
        session = await service.submit()
        await service.put(session, in_chunks(stream))
        record = await service.ends(session)
        assert record.state == "completed"
        (warning,) = record.warnings
        assert "clips could not be stored" in warning
        assert "disk space" in warning
        events = await service.events(session)
        assert [event for event in events if event.type == "action.end"]
        assert clips_of(events) == []


@pytest.fixture(scope="module")
def eager(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in whose eyes every stream begins with an action that never ends."""
    folder, model = tmp_path_factory.mktemp("eager") / "tiny", tiny_model()
    rules = {LABELS[1]: StartRule(enter=0.0, leave=0.0, refractory_s=0.0)}
    save_checkpoint(folder, model, replace(model.config, start_rules=rules))
    return folder


async def test_a_clip_that_the_end_of_a_broken_off_stream_interrupts_says_so(
    eager: Path, tmp_path: Path, stream: bytes
) -> None:
    async with pushing(tmp_path, eager, clips=("all",), clip_after_s=60.0) as service, service.worker():
        session = await service.submit(max_down_s=0.1)
        sending = asyncio.create_task(service.put(session, slowly(stream, asyncio.Event())))
        # Later positions are committed with frames that do not come.
        await service.reaches(session, lambda record: record.frames > 0)
        sending.cancel()
        record = await service.ends(session)
        assert record.state == "failed"
        (clip,) = clips_of(await service.events(session))
        assert (clip.start_s, clip.complete, clip.problem) == (0.0, False, CUT_SHORT)
        assert 0.0 <= clip.to_s <= record.position_s + 0.2
        answer = await service.server.http.get(f"{session.links.events}/{clip.event_id}/clip.mp4")
        assert images_of_clip(answer.content, clip.from_s)


@pytest.fixture
def camera() -> Iterator[RtspServer]:
    with rtsp_server() as server:
        yield server


async def has_clips(place: Place, running: Running, count: int) -> list[EventMediaEvent]:
    async with asyncio.timeout(100):
        while len(clips := clips_of(await running.events())) < count:
            await place.store.log.wait(await place.store.log.end(), timeout_s=0.05)
    return clips


async def clip_frames(place: Place, clip: EventMediaEvent) -> list[float]:
    stored = await place.blobs.find_clip(clip.session_id, clip.event_id)
    assert stored is not None
    assert stored.from_s == clip.from_s
    return [time_s for time_s, _ in images_of_clip(await place.blobs.read_clip(stored), stored.from_s)]


async def test_a_camera_has_a_clip_of_every_frame_around_the_start(
    eager: Path, tmp_path: Path, camera: RtspServer
) -> None:
    async with (
        a_place(tmp_path, eager, clips=("all",), clip_after_s=1.5) as place,
        place.session(camera.url("fast")) as running,
    ):
        (clip,) = await has_clips(place, running, 1)
        await running.stop()
        times = await clip_frames(place, clip)
    assert (clip.complete, clip.problem, clip.from_s) == (True, None, 0.0)
    assert clip.to_s == 1.5
    assert times == pytest.approx([frame / 25 for frame in range(len(times))], abs=0.02)
    assert times[-1] >= 1.4


@pytest.mark.slow
async def test_a_camera_that_is_lost_leaves_a_clip_that_says_so_and_one_that_begins_late(
    eager: Path, tmp_path: Path, camera: RtspServer
) -> None:
    async with (
        # Long enough for a busy machine to lose the camera within the first clip.
        a_place(tmp_path, eager, clips=("all",), clip_before_s=20.0, clip_after_s=6.0) as place,
        place.session(camera.url("fast")) as running,
    ):
        await running.runs(beyond_s=0.5)
        camera.stop()
        (first,) = await has_clips(place, running, 1)
        lost = await running.record()
        camera.start()
        first, second = await has_clips(place, running, 2)
        await running.stop()
        assert (await clip_frames(place, first))[-1] >= 0.5
        assert (await clip_frames(place, second))[-1] >= second.start_s
        assert states(await running.events())[3:5] == ["reconnecting", "running"]
    assert (first.start_s, first.complete, first.problem) == (0.0, False, CUT_SHORT)
    assert (second.complete, second.problem) == (False, LATE)
    assert lost.position_s < second.from_s <= second.start_s


@pytest.mark.slow
async def test_the_part_of_a_clip_that_a_killed_decoder_had_sent_is_kept(
    eager: Path, tmp_path: Path, camera: RtspServer
) -> None:
    async with (
        a_place(tmp_path, eager, clips=("all",), clip_after_s=60.0) as place,
        place.session(camera.url("fast")) as running,
    ):
        await running.runs(beyond_s=1.5)
        kill_decoders()
        clip, *_ = await has_clips(place, running, 1)
        await running.runs(beyond_s=clip.to_s)
        await running.stop()
        times = await clip_frames(place, clip)
    assert (clip.start_s, clip.from_s, clip.complete, clip.problem) == (0.0, 0.0, False, CUT_SHORT)
    assert times[-1] >= 0.5


async def test_with_an_unreachable_bucket_the_session_warns_and_continues(
    eager: Path, tmp_path: Path, camera: RtspServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bucket_server() as bucket:
        for name, value in bucket.environ.items():
            monkeypatch.setenv(name, value)
        async with a_place(tmp_path, eager, clips=("all",), clip_after_s=0.5, blob_url=bucket.url) as place:
            bucket.stop()
            async with place.session(camera.url("fast")) as running:
                warned = await running.reaches(lambda record: record.warnings != ())
                await running.runs(beyond_s=warned.position_s)
                await running.stop()
                assert clips_of(await running.events()) == []
    assert "clips could not be stored" in warned.warnings[0]
