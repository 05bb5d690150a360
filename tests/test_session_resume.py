"""Whatever dies on the way, or is told to stop, a session is told once and to its end."""

import asyncio
import os
import time
from pathlib import Path

import pytest
from disturbed_place import Place, assert_well_told, kill_decoders
from session_kit import (
    Told,
    a_worker,
    decoders_of,
    states,
    submit,
)
from video_server import serve_folder


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


@pytest.mark.parametrize("remember_every_s", [0.0, 5.0])
@pytest.mark.parametrize("step", [1, 17, 36])
async def test_a_session_whose_worker_vanishes_is_told_to_the_end_by_the_next_with_the_same_ids(
    place: Place, video: Path, expected: list[Told], step: int, remember_every_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.commits.REMEMBER_EVERY_S", remember_every_s)
    monkeypatch.setattr("service.commits.COMMIT_FAST_EVENTS_EVERY_S", 0.0)
    await place.store.register_worker(a_worker(place.detector))
    queued = await submit(place.store, place.settings, upload=video)
    first = asyncio.create_task((await place.claim()).run())
    loop = asyncio.get_running_loop()
    place.detector.before_step = {step: lambda: loop.call_soon_threadsafe(first.cancel)}
    with pytest.raises(asyncio.CancelledError):
        await first
    await place.store.release_worker("w1")
    checkpoint = await place.store.load_checkpoint(queued.id)
    seen = place.detector.steps
    await (await place.claim()).run()
    record, events = await place.told(queued.id)
    assert_well_told(record, events, expected)
    assert record.frames == 40
    assert [round(row.pts_s * 10) for row in await place.store.read_scores(record.id)] == list(range(40))
    remembered_s = -0.1 if checkpoint is None or checkpoint.detector is None else checkpoint.detector.position_s
    assert place.detector.steps - seen == 39 - round(remembered_s * 10)


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


async def test_a_lost_connection_is_made_again_and_nothing_is_lost(
    place: Place, video: Path, expected: list[Told]
) -> None:
    with serve_folder(video.parent) as host:
        record, events = await place.run(url=f"http://{host}/cut-once/v.mp4")
    assert_well_told(record, events, expected)
    assert states(events) == ["queued", "starting", "running", "reconnecting", "running", "completed"]
