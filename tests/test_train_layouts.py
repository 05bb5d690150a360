"""`cake train` on the other layouts of the field: per-frame features, and lists of clips."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from layout_kit import ACTIONS, WIDTH, write_thumos
from made_videos import write_video
from training_kit import TINY

from model.checkpoint import CheckpointInvalid, load_checkpoint, read_config

CAKE = (sys.executable, "-m", "service.cli")


def train(data: Path, out: Path, config: str, *options: str) -> subprocess.CompletedProcess[str]:
    recipe = out.parent / "recipe.json"
    recipe.write_text(json.dumps(TINY.to_json()))
    needed = ["--data", str(data), "--out", str(out), "--recipe", str(recipe), "--config", config, "--processes", "1"]
    return subprocess.run([*CAKE, "train", *needed, *options], capture_output=True, text=True, check=False)


def test_a_head_trains_on_feature_folders_and_is_measured_on_their_test_sessions(tmp_path: Path) -> None:
    data, out = write_thumos(tmp_path), tmp_path / "run"
    done = train(data, out, "cake-xs")
    assert done.returncode == 0, done.stderr
    assert read_config(out).labels == ACTIONS
    assert read_config(out).head.feature_dim == WIDTH
    command = [*CAKE, "eval", "--data", str(data), "--model", str(out), "--json"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert 0 < report["frame_map"] <= 1
    with pytest.raises(CheckpointInvalid, match="it lacks trunk"):
        load_checkpoint(out)


def test_the_whole_network_trains_on_lists_of_clips(tmp_path: Path) -> None:
    for index in range(4):
        write_video(tmp_path / f"{index}.mp4", count=90)
    (tmp_path / "train.txt").write_text("0.mp4 kick\n1.mp4 punch\n")
    (tmp_path / "validation.txt").write_text("2.mp4 kick\n3.mp4 punch\n")
    done = train(tmp_path / "train.txt", tmp_path / "run", "cake-xs", "--validation", str(tmp_path / "validation.txt"))
    assert done.returncode == 0, done.stderr
    assert load_checkpoint(tmp_path / "run")[0].config.labels == ("background", "kick", "punch")


def test_a_list_of_clips_without_one_for_validation_is_told_what_it_lacks(tmp_path: Path) -> None:
    write_video(tmp_path / "0.mp4", count=90)
    (tmp_path / "train.txt").write_text("0.mp4 kick\n")
    done = train(tmp_path / "train.txt", tmp_path / "run", "cake-xs")
    assert done.returncode == 2
    assert "--validation LIST" in done.stderr
    assert "Traceback" not in done.stderr
