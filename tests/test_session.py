"""A session tells what its video holds, and why it failed if it did."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from disturbed_place import Place, assert_well_told
from made_videos import cut, write_audio
from session_kit import (
    Told,
    actions,
    decoders_of,
    states,
    write_lively_video,
)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


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
    files = contents(place.settings.data_dir / "snapshots")
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


async def test_a_failure_of_the_detector_fails_only_its_session(place: Place, video: Path) -> None:
    def fail() -> None:
        raise ArithmeticError("no luck")

    place.detector.before_step = {5: fail}
    record, _ = await place.run(upload=video)
    assert (record.state, record.code) == ("failed", "internal")
    record, _ = await place.run(upload=video)
    assert record.state == "completed"
