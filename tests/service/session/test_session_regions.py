"""A session of several regions finds in each what a session of a video cut to it would find."""

import asyncio
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.checkpoints.folders import SHIPPED_DIR
from model.detector import Detector
from model.video.file_reader import open_video
from model.video.preprocess import Region
from service.event_schemas import Event
from service.schemas import NamedRegion
from service.session.context import CommitSchedule
from service.sources.stored import StoredUpload
from tests.support.disturbed_place import Place, a_place, kill_decoders
from tests.support.made_videos import Pixels, write_video
from tests.support.paths import SAMPLE
from tests.support.session_kit import (
    Reported,
    a_worker,
    actions,
    expected_actions,
    submit,
    write_lively_video,
)
from tests.support.tiny_model import SAMPLE_HZ, checkpoint_for, load

DOOR = NamedRegion(name="door", x=0.0, y=0.0, width=0.5, height=1.0)
YARD = NamedRegion(name="yard", x=0.25, y=0.25, width=0.75, height=0.75)
TWO = StoredUpload(filename="v.mp4", regions=(DOOR, YARD))


@pytest.fixture(scope="module")
def expected_of(video: Path, model: Path) -> dict[str, list[Reported]]:
    detector = load(model)
    found = {
        each.name: expected_actions(video, detector, Region(each.x, each.y, each.width, each.height))
        for each in (DOOR, YARD)
    }
    assert found["door"] != found["yard"]
    assert all(len(reported) >= 4 for reported in found.values())
    return found


def by_region(events: list[Event]) -> dict[str, list[Reported]]:
    regions = {event.region for event in events if event.type in ("action.start", "action.end")}
    assert None not in regions
    return {
        str(region): actions([event for event in events if getattr(event, "region", None) == region])
        for region in regions
    }


async def test_each_region_has_separate_events_from_one_decoder(
    place: Place, video: Path, expected_of: dict[str, list[Reported]], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    start = asyncio.create_subprocess_exec

    async def start_and_count(*command: str, **options: Any) -> asyncio.subprocess.Process:
        started.append(" ".join(command))
        return await start(*command, **options)

    # A decoder may have ended before the first step, so the starts are counted.
    monkeypatch.setattr(asyncio, "create_subprocess_exec", start_and_count)
    record, events = await place.run(upload=video, source=TWO)
    assert record.state == "completed", record.detail
    assert by_region(events) == expected_of
    assert len([command for command in started if "service.decoder.fork_server_child" in command]) == 1
    assert record.frames == 40
    assert record.video is not None
    assert record.video.analysed is None
    assert [(seen.x, seen.width) for seen in record.video.analysed_regions] == [(0.0, 0.5), (0.25, 0.75)]
    rows = await place.store.log.read_scores(record.id)
    assert {len(row.scores) for row in rows} == {4}
    assert [row.scores[:2] for row in rows] != [row.scores[2:] for row in rows]


@pytest.mark.parametrize("detector_snapshot_every_s", [0.0, 5.0])
async def test_a_session_of_regions_resumes_in_another_worker_and_after_a_dead_decoder(
    place: Place, video: Path, expected_of: dict[str, list[Reported]], detector_snapshot_every_s: float
) -> None:
    schedule = CommitSchedule(events_every_s=0.0, every_s=0.0, detector_snapshot_every_s=detector_snapshot_every_s)
    await place.store.workers.register(a_worker(place.detector))
    queued = await submit(place.store, place.settings, upload=video, source=TWO)
    first = asyncio.create_task((await place.claim(schedule)).run())
    loop = asyncio.get_running_loop()
    place.detector.before_step = {12: kill_decoders, 25: lambda: loop.call_soon_threadsafe(first.cancel)}
    with pytest.raises(asyncio.CancelledError):
        await first
    await place.store.workers.release("w1")
    await (await place.claim(schedule)).run()
    record, events = await place.reported(queued.id)
    assert record.state == "completed", record.detail
    assert by_region(events) == expected_of
    assert record.frames == 40


async def test_a_gap_ends_the_actions_of_all_regions(
    model: Path, tmp_path: Path, expected_of: dict[str, list[Reported]]
) -> None:
    at_s = next(at / 10 for at in range(10, 40) if all(is_open(reported, at / 10) for reported in expected_of.values()))
    cut_at = round(at_s * 30) + 1
    pts = [number if number < cut_at else number + 150 for number in range(120)]
    gap = write_lively_video(tmp_path / "gap.mp4", count=120, pts=pts)
    async with a_place(model, tmp_path / "data") as place:
        _, events = await place.run(upload=gap, source=TWO)
    (gap_at,) = [number for number, event in enumerate(events) if event.type == "session.gap"]
    before = [event for event in events[:gap_at] if event.type in ("action.start", "action.end")]
    ended = [event for event in before if event.decided_s == events[gap_at].decided_s]
    assert {(event.region, event.type) for event in ended} == {("door", "action.end"), ("yard", "action.end")}
    assert set({(event.region, event.label): event.type for event in before}.values()) == {"action.end"}


def is_open(reported: list[Reported], at_s: float) -> bool:
    """Whether an action is in progress at a media time."""
    decided = [kind for kind, _, _, decided_s in reported if decided_s <= at_s]
    return decided.count("action.start") > decided.count("action.end")


async def test_in_the_sample_only_the_region_that_shows_the_figure_has_events(tmp_path: Path) -> None:
    with open_video(SAMPLE) as sample:
        shown = [frame.image for frame in islice(sample.frames(SAMPLE_HZ), 100)]

    def on_the_left(number: int, width: int, height: int) -> Pixels:
        image = np.full((height, width, 3), (64, 96, 64), np.uint8)
        image[:320, :320] = shown[number]
        return image

    wide = write_video(
        tmp_path / "wide.mp4", width=640, height=360, count=len(shown), rate_hz=int(SAMPLE_HZ), draw=on_the_left
    )
    figure = NamedRegion(name="figure", x=0.0, y=0.0, width=320 / 640, height=320 / 360)
    beside = NamedRegion(name="beside", x=0.5, y=0.0, width=320 / 640, height=320 / 360)
    model = shutil.copytree(SHIPPED_DIR / "mocap", tmp_path / "tiny")
    async with a_place(model, tmp_path / "data") as place:
        record, events = await place.run(
            upload=wide,
            source=StoredUpload(filename="v.mp4", regions=(figure, beside)),
            labels=Detector.load(model).config.labels[1:],
        )
    assert record.state == "completed", record.detail
    starts = [(event.region, event.label, event.start_s) for event in events if event.type == "action.start"]
    assert [(region, label) for region, label, _ in starts] == [("figure", "roll"), ("figure", "punch")]
    assert [start_s for *_, start_s in starts] == pytest.approx([2.7, 8.0], abs=0.4)


async def test_regions_that_are_small_or_not_square_are_warned_of(
    video: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = checkpoint_for(video, tmp_path_factory.mktemp("centre"), framing="centre_crop")
    slot = NamedRegion(name="slot", x=0.0, y=0.0, width=1.0, height=0.1)
    async with a_place(model, tmp_path / "data") as place:
        record, _ = await place.run(upload=video, source=StoredUpload(filename="v.mp4", regions=(slot,)))
    square, small = record.warnings
    assert "centre square of the region slot" in square
    assert "The region slot has only 160 x 12 pixels" in small
    assert record.video is not None
    assert record.video.analysed_regions[0].width == pytest.approx(0.075)
