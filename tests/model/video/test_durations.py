"""The stated length of a file is compared with what is read; it is never trusted."""

import re
import subprocess
from pathlib import Path

import pytest

from model.video.file_reader import open_video
from tests.support.made_videos import cut, number_of, with_duration, write_video

COUNT, RATE_HZ = 90, 30


def recorded_segments(folder: Path, suffix: str, offset_s: int) -> list[Path]:
    """The files of a recorder that cuts a stream into segments of a second and keeps its clock."""
    source = write_video(folder / "camera.ts", count=COUNT, codec_options={"g": "15", "bf": "2", "preset": "veryfast"})
    segments = ["-f", "segment", "-segment_time", "1", str(folder / f"s_%d{suffix}")]
    command = ["ffmpeg", "-v", "error", "-i", str(source), "-c", "copy", "-output_ts_offset", str(offset_s), *segments]
    subprocess.run(command, check=True)
    return sorted(folder.glob(f"s_*{suffix}"))


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".flv", ".nut"])
@pytest.mark.parametrize("offset_s", [0, 90_000])
def test_segments_of_a_recorder_are_complete_also_on_the_second_day(tmp_path: Path, suffix: str, offset_s: int) -> None:
    segments = recorded_segments(tmp_path, suffix, offset_s)
    assert len(segments) > 1
    numbers: list[int] = []
    for segment in segments:
        with open_video(segment) as video:
            frames = list(video.frames())
            assert video.warnings == []
            assert frames[0].pts_s < 0.2
            assert video.info.duration_s == pytest.approx(frames[-1].pts_s, abs=0.2)
            numbers += [number_of(frame.image) for frame in frames]
    assert numbers == [number % 50 for number in range(COUNT)]


@pytest.mark.parametrize("duration_s", [0.0, 0.5, 100_000.0, 1e12, -5.0, float("nan")])
def test_a_wrong_duration_loses_no_frame(tmp_path: Path, duration_s: float) -> None:
    with open_video(with_duration(write_video(tmp_path / "v.mkv", count=COUNT), duration_s)) as video:
        assert len(list(video.frames())) == COUNT
        assert bool(video.warnings) == (duration_s > 3)
        assert all("header states" in warning for warning in video.warnings)


@pytest.mark.parametrize("name", ["v.mkv", "v.mp4", "v.mov", "v.avi", "v.flv", "v.mxf"])
def test_a_file_that_is_cut_short_is_reported_with_both_lengths(tmp_path: Path, name: str) -> None:
    options = {"preset": "veryfast", "g": "24", "profile": "high"}
    index_first = {"movflags": "faststart"} if name in ("v.mp4", "v.mov") else {}
    path = write_video(tmp_path / name, count=5 * COUNT, codec_options=options, format_options=index_first)
    with open_video(cut(path, 0.5)) as video:
        *_, last = video.frames()
        *_, warning = video.warnings
    lengths = re.fullmatch(r"The video ends at (.*) s, but its header states 15\.. s: the file is cut short.*", warning)
    assert lengths is not None
    assert float(lengths[1]) == pytest.approx(last.pts_s, abs=0.5)
    assert last.pts_s < 12


@pytest.mark.parametrize(("suffix", "codec"), [(".m2v", "mpeg2video"), (".h264", "libx264")])
def test_a_stream_without_a_container_states_no_length(tmp_path: Path, suffix: str, codec: str) -> None:
    with open_video(write_video(tmp_path / f"v{suffix}", count=COUNT, codec=codec, codec_options={"g": "12"})) as video:
        assert video.info.duration_s is None
        assert len(list(video.frames())) == COUNT
        assert video.warnings == []


def test_a_file_that_is_deleted_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", count=COUNT)
    with open_video(path) as video:
        frames = video.frames()
        next(frames)
        path.unlink()
        assert len([*frames]) == COUNT - 1
