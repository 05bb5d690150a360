"""A session publishes the actions in its video, and the reason if it fails."""

import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from service.schemas import FrameRegion
from tests.support.disturbed_place import Place, a_place, assert_well_reported
from tests.support.made_videos import cut, write_audio, write_video
from tests.support.session_kit import (
    Reported,
    actions,
    decoders_of,
    states,
    write_lively_video,
)
from tests.support.tiny_model import checkpoint_for


@pytest.fixture(scope="module")
def centre_model(video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a checkpoint that saw centre squares."""
    return checkpoint_for(video, tmp_path_factory.mktemp("centre"), framing="centre_crop")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_a_session_publishes_exactly_what_the_detector_finds_in_the_video(
    place: Place, video: Path, expected: list[Reported]
) -> None:
    record, events = await place.run(upload=video)
    assert_well_reported(record, events, expected)
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
    assert record.video.analysed == FrameRegion(x=0.0, y=0.0, width=1.0, height=1.0)
    assert decoders_of(os.getpid()) == []


async def test_a_video_of_far_fewer_frames_than_the_model_was_trained_with_is_warned_of(
    place: Place, tmp_path: Path
) -> None:
    lapse = write_video(tmp_path / "lapse.mp4", count=5, pts=[1800 * number for number in range(5)])
    record, _ = await place.run(upload=lapse)
    assert record.state == "completed"
    assert [warning.partition(" on average")[0] for warning in record.warnings] == [
        "The source has 0.021 frames per second"
    ]


async def test_a_model_of_centre_squares_says_what_it_does_not_see(
    video: Path, centre_model: Path, tmp_path: Path
) -> None:
    async with a_place(centre_model, tmp_path / "data") as place:
        record, _ = await place.run(upload=video)
    assert record.video is not None
    assert record.video.analysed == FrameRegion(x=0.125, y=0.0, width=0.75, height=1.0)
    assert len(record.warnings) == 1
    assert "sees only the centre square of each frame, 75%" in record.warnings[0]


async def test_events_carry_the_model_and_the_latency_and_a_snapshot_is_kept(place: Place, video: Path) -> None:
    record, events = await place.run(upload=video)
    for event in events:
        assert event.model == "tiny"
        if event.type in ("action.start", "action.end"):
            assert event.model_version == place.detector.version
            assert event.latency_s.total >= 0
            assert event.latency_s.infer > 0
    files = contents(place.settings.data_dir / "snapshots")
    assert list(files) == [f"{record.id}.jpg"]
    assert files[f"{record.id}.jpg"].startswith(b"\xff\xd8")
    counted = {
        (sample.labels["type"], sample.labels["model"], sample.labels["label"]): sample.value
        for sample in next(iter(place.metrics.events.collect())).samples
    }
    # The test committed the first event, `queued`, itself.
    kinds = [(event.type, "tiny", getattr(event, "label", "")) for event in events[1:]]
    assert counted == Counter(kinds)


async def test_only_the_requested_labels_are_published_and_the_scores_of_every_frame_are_stored(
    place: Place, video: Path, expected: list[Reported]
) -> None:
    record, events = await place.run(upload=video, labels=("punch",))
    assert actions(events) == [reported for reported in expected if reported[1] == "punch"]
    rows = await place.store.log.read_scores(record.id)
    np.testing.assert_allclose([row.pts_s for row in rows], np.arange(40) / 10, atol=1e-6)
    assert all(len(row.scores) == 1 and 0 <= row.scores[0] <= 1 for row in rows)


async def test_a_gap_in_the_stream_is_published_and_detection_restarts(place: Place, tmp_path: Path) -> None:
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


async def test_a_failure_of_the_detector_fails_only_its_session(place: Place, video: Path) -> None:
    def fail() -> None:
        raise ArithmeticError("no luck")

    place.detector.before_step = {5: fail}
    record, _ = await place.run(upload=video)
    assert (record.state, record.code) == ("failed", "internal")
    record, _ = await place.run(upload=video)
    assert record.state == "completed"


async def test_every_change_of_state_is_logged_with_id_name_and_code(place: Place, video: Path) -> None:
    with capture_logs() as lines:
        good, _ = await place.run(upload=video)
        bad, _ = await place.run(url="ftp://127.0.0.1/v.mp4")
    logged = [line for line in lines if line["event"] == "session state"]
    assert [(line["session"], line["state"]) for line in logged] == [
        *((good.id, state) for state in ("starting", "running", "completed")),
        *((bad.id, state) for state in ("starting", "failed")),
    ]
    assert all("name" in line for line in logged)
    assert (logged[-1]["code"], logged[-1]["log_level"]) == ("source_forbidden", "warning")


async def test_an_upload_that_the_worker_cannot_find_is_a_fault_of_the_server(place: Place) -> None:
    record, _ = await place.run()
    assert (record.state, record.code) == ("failed", "internal")
    assert record.detail is not None
    assert "CAKE_BLOB_URL" in record.detail


@pytest.mark.parametrize(
    ("times_s", "gaps"),
    [
        ([0.0, 3.3, 6.6, 9.9, 13.2, 16.5], []),
        ([0.0, 3.3, 6.6, 26.4, 29.7], [26.4]),
        ([*(n / 10 for n in range(10)), 4.0, 7.3, 10.6, 13.9, 17.2, 20.5, 23.8], [4.0, 7.3, 10.6, 13.9, 17.2]),
    ],
    ids=["rare frames", "a gap between rare frames", "frames that become rare"],
)
async def test_a_gap_is_longer_than_the_interval_of_the_stream(
    place: Place, tmp_path: Path, times_s: list[float], gaps: list[float]
) -> None:
    pts = [round(time_s * 30) for time_s in times_s]
    _, events = await place.run(upload=write_lively_video(tmp_path / "rare.mkv", count=len(pts), pts=pts))
    assert [event.decided_s for event in events if event.type == "session.gap"] == pytest.approx(gaps)
