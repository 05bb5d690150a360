"""Kinetics' protocol for an imported student's own classifiers: 10 clips of a video, 3 crops of each."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from model.checkpoints.checkpoint import save_checkpoint
from model.checkpoints.classifiers import ClipClassifiers, save_classifiers
from model.training.evaluation.thirty_views import clip_frames, clip_starts, views_of_video
from model.video.preprocess import MEAN, STD
from tests.support.cake_command import run
from tests.support.made_videos import write_video
from tests.support.tiny_model import SIZE, tiny_model

STEPS = 13
CLASSES = 6


@pytest.mark.parametrize(("total", "last_start"), [(300, 204), (74, 0), (73, 0), (20, 0)])
def test_clips_are_spread_over_the_video_and_end_in_it(total: int, last_start: int) -> None:
    starts = clip_starts(total, STEPS)
    assert (len(starts), starts[0], starts[-1]) == (10, 0, last_start)
    assert clip_frames(starts[-1], STEPS, total)[:2] == [last_start, min(last_start + 6, total - 1)]
    assert max(index for start in starts for index in clip_frames(start, STEPS, total)) <= total - 1


@pytest.mark.parametrize(("width", "height"), [(160, 120), (120, 160)])
def test_the_crops_are_the_ends_and_the_middle_of_the_longer_side(tmp_path: Path, width: int, height: int) -> None:
    def image(number: int, width: int, height: int) -> np.ndarray:
        image = np.full((height, width, 3), 100, np.uint8)
        image[-height // 16 :, -width // 16 :] = 255
        image[:, :, 2] = number
        return image

    options = {"codec": "libx264rgb", "pixel_format": "rgb24", "codec_options": {"qp": "0", "preset": "ultrafast"}}
    path = write_video(tmp_path / "a.mkv", width=width, height=height, count=100, draw=image, **options)  # type: ignore[arg-type]
    views = list(views_of_video(path, SIZE, STEPS))
    assert len(views) == 30
    assert {tuple(view.shape) for view in views} == {(3, STEPS, SIZE, SIZE)}
    corners = torch.stack([view[0, 0, -1, -1] for view in views[:3]]) * STD + MEAN
    np.testing.assert_allclose(corners, [100 / 255, 100 / 255, 1], atol=0.02)
    numbers = (views[-1][2, :, 0, 0] * STD + MEAN) * 255
    np.testing.assert_allclose(numbers, clip_frames(clip_starts(100, STEPS)[-1], STEPS, 100), atol=1.5)


def test_each_branch_and_both_are_reported(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}.mp4", count=80)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    (tmp_path / "val.txt").write_text("a.mp4 2\nb.mp4 3\nbad.mp4 1\n")
    save_checkpoint(tmp_path / "student", tiny_model(), parts=("trunk", "static_head", "motion", "motion_head"))
    options = ("eval", "--data", tmp_path / "val.txt", "--model", tmp_path / "student", "--thirty-views", "--json")
    assert "student has no classifiers of clips" in run(*options)[2]
    zeros = np.zeros((CLASSES, tiny_model().config.head.feature_dim), np.float32)
    says_2, says_3 = (np.eye(CLASSES, dtype=np.float32)[label] * scale for label, scale in ((2, 1), (3, 2)))
    save_classifiers(tmp_path / "student", ClipClassifiers(zeros, says_2, zeros, says_3))
    status, out, err = run(*options)
    assert (status, "skipped" in err) == (0, True), err
    report = json.loads(out)
    assert {name: (found["clips"], found["top1"]) for name, found in report.items()} == dict.fromkeys(
        ("static", "motion", "both"), (2, 0.5)
    )
    assert report["both"]["per_class"]["3"]["top1"] == 1.0
    assert report["static"]["per_class"]["2"]["top1"] == 1.0
    (tmp_path / "names.txt").write_text("\n".join("abcdefg"))
    assert "7 classes; the model's classifiers have 6" in run(*options, "--classes", tmp_path / "names.txt")[2]
