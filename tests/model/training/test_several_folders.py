"""`cake train` on several data folders together, whose videos may share names."""

import json
from pathlib import Path

import numpy as np
import pytest

from model.training.layouts.annotations import DataError
from model.training.layouts.several_folders import folder_names, read_training_folders
from model.training.loop import StageMismatchError
from model.training.run import load_videos, open_run
from tests.support.cake_command import run
from tests.support.layout_kit import write_thumos
from tests.support.made_videos import write_video
from tests.support.training_kit import ALONE, SILENT, TINY


def write_folder(folder: Path, frames: int, label: str, subsets: tuple[str, ...]) -> Path:
    """With a video cam0, cam1, ... for each subset, of so many frames at 30 a second."""
    (folder / "videos").mkdir(parents=True)
    database = {}
    for index, subset in enumerate(subsets):
        write_video(folder / "videos" / f"cam{index}.mp4", count=frames)
        database[f"cam{index}"] = {"subset": subset, "annotations": [{"label": label, "segment": [0.5, 1.5]}]}
    (folder / "annotations.json").write_text(json.dumps({"database": database}))
    return folder


@pytest.fixture
def kicks(tmp_path: Path) -> Path:
    """Training videos only, of 3 s, one of them with the renderer's targets."""
    folder = write_folder(tmp_path / "kicks", 90, "kick", ("training", "training"))
    (folder / "targets").mkdir()
    joints, mask = np.full((30, 15, 2), 0.5, np.float16), np.ones((30, 14, 14), np.uint8)
    np.savez(folder / "targets" / "cam0.npz", joints_TJ2=joints, mask_THW=mask)
    return folder


@pytest.fixture
def waves(tmp_path: Path) -> Path:
    """Videos of 4 s."""
    return write_folder(tmp_path / "waves", 120, "wave", ("training", "validation"))


def test_folders_are_trained_on_together_and_equal_names_stay_apart(kicks: Path, waves: Path, tmp_path: Path) -> None:
    begun = open_run([kicks, waves], tmp_path / "run", "cake-xs", TINY, ALONE, SILENT)
    assert begun.config.labels == ("background", "kick", "wave")
    assert [video.name for video in begun.training] == ["kicks.cam0", "kicks.cam1", "waves.cam0"]
    assert [video.name for video in begun.validation] == ["waves.cam1"]
    loaded = load_videos(begun, begun.frames.path)
    assert [(len(video.images_TPPC), video.targets is not None) for video in loaded] == [
        (30, True),
        (30, False),
        (40, False),
    ]
    noted = json.loads((tmp_path / "run" / "data.json").read_text())
    assert sorted(noted) == ["kicks.cam0", "kicks.cam1", "waves.cam0", "waves.cam1"]


def test_a_run_continues_with_the_same_folders_in_any_order_and_with_no_others(
    kicks: Path, waves: Path, tmp_path: Path
) -> None:
    first = open_run([kicks, waves], tmp_path / "run", "cake-xs", TINY, ALONE, SILENT)
    second = open_run([waves, kicks], tmp_path / "run", "cake-xs", TINY, ALONE, SILENT)
    assert [video.path for video in first.training] == [video.path for video in second.training]
    third = write_folder(tmp_path / "third", 90, "kick", ("training",))
    with pytest.raises(StageMismatchError, match=r"other data; changed: third\.cam0"):
        open_run([kicks, waves, third], tmp_path / "run", "cake-xs", TINY, ALONE, SILENT)


def test_skipped_videos_are_named_with_their_folder(kicks: Path, waves: Path) -> None:
    (kicks / "videos" / "cam1.mp4").unlink()
    with pytest.raises(DataError, match=r"kicks/annotations\.json: 1 of its videos are not in the folder"):
        read_training_folders([kicks, waves])
    skipped: list[str] = []
    videos = read_training_folders([kicks, waves], skipped.append)
    assert skipped == ["kicks: cam1: there is no video of this name"]
    assert [video.name for video in videos] == ["kicks.cam0", "waves.cam0", "waves.cam1"]


def test_folders_of_one_name_are_told_apart_by_the_folders_above() -> None:
    assert folder_names([Path("/x/monday"), Path("/x/tuesday")]) == ["monday", "tuesday"]
    assert folder_names([Path("/a/day/data"), Path("/b/day/data")]) == ["a.day.data", "b.day.data"]


def test_data_that_cannot_be_combined_gives_one_clear_line(kicks: Path, waves: Path, tmp_path: Path) -> None:
    features, clips = write_thumos(tmp_path), tmp_path / "clips.txt"
    clips.write_text("a.mp4 kick\n")
    (tmp_path / "link").symlink_to(kicks)
    for other, message in (
        (features, "is a folder of per-frame features; only folders of annotated videos can be combined"),
        (clips, "is a list of clips; only folders of annotated videos can be combined"),
        (tmp_path / "link", "is the same folder as"),
        (tmp_path / "none", "not there; expected a folder with videos/"),
    ):
        done = run("train", "--data", kicks, "--data", waves, "--data", other, "--out", tmp_path / "run")
        assert (done.status, len(done.err.strip().splitlines())) == (2, 1)
        assert message in done.err
    assert not (tmp_path / "run").exists()
