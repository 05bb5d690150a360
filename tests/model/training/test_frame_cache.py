"""Videos are decoded once, and whatever is doubtful about them is reported each time."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.commands.progress import show_progress
from model.training.frame_cache import FrameCache
from model.training.layouts.annotations import LabelledVideo
from tests.support.made_videos import cut, write_video
from tests.support.training_kit import SILENT


@pytest.fixture
def cache(tmp_path: Path) -> FrameCache:
    return FrameCache(tmp_path / "cache", 10.0, 32, "stretch")


def filled(cache: FrameCache, *videos: LabelledVideo) -> tuple[dict[str, str], list[str]]:
    """What does not decode, and the warnings."""
    warnings: list[str] = []
    failures = cache.fill(videos, 1, replace(SILENT, on_warning=warnings.append))
    return failures, sorted(warnings)


def labelled(path: Path, duration_s: float = 0.0) -> LabelledVideo:
    return LabelledVideo(path.stem, path, "testing", (), duration_s)


def test_a_whole_video_of_the_annotated_duration_gives_no_warning(tmp_path: Path, cache: FrameCache) -> None:
    video = labelled(write_video(tmp_path / "whole.mp4", count=90), duration_s=3.0)
    assert filled(cache, video) == ({}, [])
    assert cache.load(video).images_TSS3.shape == (30, 32, 32, 3)
    np.testing.assert_allclose(cache.load_pts_s(video), np.arange(30) / 10, atol=1e-6)


def test_a_video_that_is_cut_short_is_reported_also_from_the_cache(tmp_path: Path, cache: FrameCache) -> None:
    path = cut(write_video(tmp_path / "cut.mkv", count=300), 0.5)
    for _ in range(2):
        failures, [duration, warning] = filled(cache, labelled(path, duration_s=10.0))
        assert failures == {}
        assert duration.startswith("cut: It decodes to ")
        assert duration.endswith(" s, but its annotation states 10.0 s.")
        assert warning.startswith("cut: The video ends at ")


def test_a_video_whose_clock_restarts_is_reported(tmp_path: Path, cache: FrameCache) -> None:
    part = write_video(tmp_path / "part.ts", count=30).read_bytes()
    (tmp_path / "joined.ts").write_bytes(part + part)
    _, [warning] = filled(cache, labelled(tmp_path / "joined.ts", duration_s=2.0))
    assert warning.startswith("joined: Clock restarts in the video: 1.")


def test_a_video_that_was_replaced_is_decoded_again(tmp_path: Path, cache: FrameCache) -> None:
    path = cut(write_video(tmp_path / "v.mkv", count=300), 0.5)
    assert filled(cache, labelled(path))[1]
    write_video(path, count=30)
    os.utime(path, (1, 1))  # also one that is older than the cached frames
    assert filled(cache, labelled(path)) == ({}, [])
    assert len(cache.load_pts_s(labelled(path))) == 10


def test_commands_print_each_warning_once_and_their_number(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress() as progress:
        for sentence in ("a: cut short.", "b: cut short.", "a: cut short."):
            progress.on_warning(sentence)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["warning: a: cut short.", "warning: b: cut short.", "2 warnings about videos that were used"]
