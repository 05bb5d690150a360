"""A session publishes every event once, whichever process dies or is stopped on the way."""

import asyncio
import os
from pathlib import Path

import pytest

from service.session.context import CommitSchedule
from tests.support.disturbed_place import Place, a_place, assert_well_reported, kill_decoders
from tests.support.session_kit import (
    Reported,
    a_worker,
    decoders_of,
    states,
    submit,
)
from tests.support.video_server import serve_folder


async def test_killed_decoders_lose_nothing_and_repeat_nothing(
    place: Place, video: Path, expected: list[Reported]
) -> None:
    place.detector.before_step = dict.fromkeys((1, 12, 31), kill_decoders)
    record, events = await place.run(upload=video)
    assert_well_reported(record, events, expected)
    assert record.frames == 40
    assert states(events) == ["queued", "starting", "running", "completed"]
    assert [round(row.pts_s * 10) for row in await place.store.log.read_scores(record.id)] == list(range(40))


async def test_a_decoder_that_always_dies_fails_the_session(place: Place, video: Path) -> None:
    await place.store.workers.register(a_worker(place.detector))
    # In real time no decoder lives long enough to send the whole video.
    queued = await submit(place.store, place.settings, upload=video, pace="realtime")
    running = asyncio.create_task((await place.claim()).run())
    while not running.done():
        kill_decoders()
        await asyncio.sleep(0.02)
    await running
    record, events = await place.reported(queued.id)
    assert (record.state, record.code) == ("failed", "decode_failed")
    assert states(events)[-1] == "failed"


@pytest.mark.parametrize("detector_snapshot_every_s", [0.0, 5.0])
@pytest.mark.parametrize("step", [1, 17, 36])
async def test_a_session_whose_worker_vanishes_is_completed_by_the_next_with_the_same_ids(
    place: Place, video: Path, expected: list[Reported], step: int, detector_snapshot_every_s: float
) -> None:
    schedule = CommitSchedule(events_every_s=0.0, detector_snapshot_every_s=detector_snapshot_every_s)
    await place.store.workers.register(a_worker(place.detector))
    queued = await submit(place.store, place.settings, upload=video)
    first = asyncio.create_task((await place.claim(schedule)).run())
    loop = asyncio.get_running_loop()
    place.detector.before_step = {step: lambda: loop.call_soon_threadsafe(first.cancel)}
    with pytest.raises(asyncio.CancelledError):
        await first
    await place.store.workers.release("w1")
    checkpoint = await place.store.log.load_resume_point(queued.id)
    seen = place.detector.steps
    await (await place.claim(schedule)).run()
    record, events = await place.reported(queued.id)
    assert_well_reported(record, events, expected)
    assert record.frames == 40
    assert [round(row.pts_s * 10) for row in await place.store.log.read_scores(record.id)] == list(range(40))
    remembered_s = -0.1 if checkpoint is None or checkpoint.detector is None else checkpoint.detector.position_s
    assert place.detector.steps - seen == 39 - round(remembered_s * 10)


async def test_a_session_that_is_handed_over_continues_after_its_last_frame(
    place: Place, video: Path, expected: list[Reported]
) -> None:
    await place.store.workers.register(a_worker(place.detector))
    queued = await submit(place.store, place.settings, upload=video)
    session = await place.claim()
    loop = asyncio.get_running_loop()
    place.detector.before_step = {20: lambda: loop.call_soon_threadsafe(session.hand_over)}
    await session.run()
    checkpoint = await place.store.log.load_resume_point(queued.id)
    record, events = await place.reported(queued.id)
    assert record.state == "running"
    assert checkpoint is not None
    assert 20 <= checkpoint.frames == record.frames < 40
    await place.store.workers.release("w1")
    await (await place.claim()).run()
    record, events = await place.reported(queued.id)
    assert_well_reported(record, events, expected)
    assert place.detector.steps == 40


async def test_a_worker_that_lost_its_lease_writes_nothing_more(place: Place, video: Path) -> None:
    await place.store.workers.register(a_worker(place.detector))
    queued = await submit(place.store, place.settings, upload=video, pace="realtime")
    session = await place.claim()
    running = asyncio.create_task(session.run())
    await reaches(place, queued.id, "running")
    await place.store.workers.release("w1")
    await asyncio.wait_for(running, 60)
    record, _ = await place.reported(queued.id)
    assert record.state == "running"
    assert decoders_of(os.getpid()) == []


async def reaches(place: Place, session_id: str, state: str) -> None:
    cursor = "0"
    async with asyncio.timeout(100):
        while (await place.store.sessions.get(session_id)).state != state:
            await place.store.log.wait(cursor, timeout_s=20)
            cursor = await place.store.log.end()


async def test_a_stop_does_not_wait_for_the_source(model: Path, video: Path, tmp_path: Path) -> None:
    with serve_folder(video.parent) as host:
        async with a_place(model, tmp_path / "data", source_timeout_s=600.0) as place, asyncio.timeout(120):
            await place.store.workers.register(a_worker(place.detector))
            for what, state in (({"upload": video}, "running"), ({"url": f"http://{host}/stall/v.mp4"}, "starting")):
                queued = await submit(place.store, place.settings, pace="realtime", **what)
                session = await place.claim()
                running = asyncio.create_task(session.run())
                await reaches(place, queued.id, state)
                session.stop()
                await running
                record, events = await place.reported(queued.id)
                assert record.state == "stopped"
                assert record.ended_at is not None
                assert states(events)[-1] == "stopped"
    assert decoders_of(os.getpid()) == []


async def test_actions_in_progress_end_when_a_session_is_stopped(place: Place, video: Path) -> None:
    await place.store.workers.register(a_worker(place.detector))
    queued = await submit(place.store, place.settings, upload=video)
    session = await place.claim()
    loop = asyncio.get_running_loop()
    place.detector.before_step = {20: lambda: loop.call_soon_threadsafe(session.stop)}
    await session.run()
    _, events = await place.reported(queued.id)
    reported = [event.type for event in events]
    assert reported.count("action.start") == reported.count("action.end") > 0


async def test_a_lost_connection_is_made_again_and_nothing_is_lost(
    place: Place, video: Path, expected: list[Reported]
) -> None:
    with serve_folder(video.parent) as host:
        record, events = await place.run(url=f"http://{host}/cut-once/v.mp4")
    assert_well_reported(record, events, expected)
    assert states(events) == ["queued", "starting", "running", "reconnecting", "running", "completed"]
