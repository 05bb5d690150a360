"""Streams composed of clips: the annotations match the video, and neither files nor cuts reveal a label."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.training.clips.compose import Composition, compose_streams
from model.training.layouts.annotations import DataError, LabelledVideo, read_annotations
from model.training.layouts.blocks import block_of, block_of_stream, group_folds, resample_blocks, stream_name
from model.training.layouts.video_lists import LabelledClip
from model.video.file_reader import open_video
from tests.support.made_videos import Pixels, write_video

COMPOSITION = Composition(passes=2, size=32, fps=10, clip_s=1.0, block_size=2, validation_share=0.5)


def plain(level: int) -> "type[object]":
    def image(number: int, width: int, height: int) -> Pixels:
        return np.full((height, width, 3), level, np.uint8)

    return image  # type: ignore[return-value]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledClip]:
    """Four numbers of each kind: fights are bright, long, small and of 20 Hz; the others dark, short, large, 25 Hz."""
    folder = tmp_path_factory.mktemp("clips")
    listed = []
    for number in range(1, 5):
        bright, dark = folder / f"fight{number:03d}.mp4", folder / f"calm{number:03d}.mp4"
        write_video(bright, width=64, height=48, count=30, rate_hz=20, draw=plain(220))  # type: ignore[arg-type]
        write_video(dark, width=96, height=64, count=25, rate_hz=25, draw=plain(30))  # type: ignore[arg-type]
        listed += [LabelledClip(bright, "fight"), LabelledClip(dark, "calm")]
    return listed


@pytest.fixture(scope="module")
def composed(clips: list[LabelledClip], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("composed")
    assert compose_streams(clips, out, COMPOSITION, background="calm", on_progress=lambda done, total: None) == {}
    return out


def shown(video: LabelledVideo) -> tuple[list[float], list[bool]]:
    """Times, and whether the image is a fight's."""
    with open_video(video.path) as opened:
        frames = list(opened.frames())
    return [frame.pts_s for frame in frames], [bool(frame.image.mean() > 125) for frame in frames]


def test_a_frame_lies_in_a_segment_when_its_image_is_of_an_action(composed: Path) -> None:
    for video in read_annotations(composed):
        times_s, fights = shown(video)
        inside = [any(start <= t + 1e-6 < end for start, end, _ in video.segments) for t in times_s]
        assert inside == fights
        assert {label for _, _, label in video.segments} == {"fight"}


def duration_of(folder: Path, name: str) -> float:
    return float(json.loads((folder / "annotations.json").read_text())["database"][name]["duration"])


def test_every_clip_takes_the_same_time_in_a_stream_regardless_of_length_and_rate(composed: Path) -> None:
    for video in read_annotations(composed):
        _, fights = shown(video)
        assert sum(fights) == len(fights) - sum(fights) == 20
        assert duration_of(composed, video.name) == pytest.approx(4.0)


def test_a_stream_holds_the_clips_of_one_block_and_a_block_lies_in_one_subset(composed: Path) -> None:
    database = json.loads((composed / "annotations.json").read_text())["database"]
    subsets: dict[int, set[str]] = {}
    for entry in database.values():
        blocks = {block_of(Path(name), COMPOSITION.block_size) for name in entry["clips"]}
        assert blocks == {entry["block"]}
        subsets.setdefault(entry["block"], set()).add(entry["subset"])
    assert sorted(map(sorted, subsets.values())) == [["training"], ["validation"]]


def test_an_undecodable_clip_is_named_and_skipped(clips: list[LabelledClip], tmp_path: Path) -> None:
    damaged = tmp_path / "fight002.mp4"
    damaged.write_bytes(b"not a video")
    listed = [LabelledClip(damaged, "fight"), *(clip for clip in clips if clip.path.name != "fight002.mp4")]
    out = tmp_path / "out"
    failures = compose_streams(listed, out, COMPOSITION, background="calm", on_progress=lambda done, total: None)
    assert list(failures) == ["fight002.mp4"]
    assert sorted(round(duration_of(out, video.name)) for video in read_annotations(out)) == [3, 3, 4, 4]


@pytest.mark.parametrize("background", ["fight", "calm", "other"])
def test_clips_of_only_one_kind_cannot_be_composed(clips: list[LabelledClip], tmp_path: Path, background: str) -> None:
    fights = [clip for clip in clips if clip.label == "fight"]
    with pytest.raises(DataError, match="expected clips labelled"):
        compose_streams(fights, tmp_path, COMPOSITION, background=background, on_progress=lambda done, total: None)


def test_clips_that_are_counted_from_zero_begin_in_the_first_block(tmp_path: Path) -> None:
    assert [block_of(tmp_path / f"{number:05}.mp4", 10) for number in (0, 1, 10, 11)] == [0, 0, 0, 1]


def test_a_clip_without_a_number_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a number in the name"):
        block_of(tmp_path / "fight.mp4", 10)


def test_the_name_of_a_composed_stream_tells_its_block() -> None:
    assert block_of_stream(stream_name(3, 12)) == 3
    with pytest.raises(DataError, match="kitchen-01: only streams made by `cake synth compose`"):
        block_of_stream("kitchen-01")


@given(
    st.lists(st.integers(0, 40), min_size=2).filter(lambda blocks: len(set(blocks)) > 1), st.data(), st.integers(0, 9)
)
def test_folds_part_the_blocks_evenly(blocks: list[int], data: st.DataObject, seed: int) -> None:
    folds = data.draw(st.integers(2, len(set(blocks))))
    grouped = group_folds(blocks, folds, np.random.default_rng(seed))
    assert sorted(block for fold in grouped for block in fold) == sorted(set(blocks))
    assert max(map(len, grouped)) - min(map(len, grouped)) <= 1


@given(st.lists(st.integers(0, 5), min_size=1), st.integers(0, 9))
def test_a_bootstrap_draw_takes_whole_blocks(blocks: list[int], seed: int) -> None:
    block_N = np.array(blocks)
    drawn = block_N[resample_blocks(block_N, np.random.default_rng(seed))]
    for block in set(drawn.tolist()):
        assert (drawn == block).sum() % blocks.count(block) == 0
