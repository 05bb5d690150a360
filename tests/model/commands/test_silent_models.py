"""No model is silent: one without calibrated start rules says so wherever it is used, and any can be calibrated."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.checkpoints.checkpoint import save_checkpoint
from model.checkpoints.stored import read_config
from model.config import BACKGROUND, DEFAULT_START_RULE
from model.network.cake import Cake
from tests.support.cake_command import run
from tests.support.made_videos import write_video
from tests.support.tiny_model import tiny_model


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two videos for validation."""
    folder = tmp_path / "data"
    (folder / "videos").mkdir(parents=True)
    database = {}
    for name in ("a", "b"):
        write_video(folder / "videos" / f"{name}.mp4", count=90)
        annotations = [{"label": "kick", "segment": [1.0, 2.0]}]
        database[name] = {"subset": "validation", "duration": 3.0, "annotations": annotations}
    (folder / "annotations.json").write_text(json.dumps({"database": database}))
    return folder


def test_the_default_rule_applies_to_every_action_except_ambiguous() -> None:
    config = replace(tiny_model().config, labels=(BACKGROUND, "kick", "Ambiguous")).with_default_rules()
    assert config.start_rules == {"kick": DEFAULT_START_RULE}
    assert "not calibrated" in config.warnings[0]
    assert config.with_calibrated_rules({"kick": DEFAULT_START_RULE}, DEFAULT_START_RULE).warnings == ()


def test_detect_warns_of_a_model_without_rules_and_of_default_rules(tmp_path: Path, data: Path) -> None:
    model = tiny_model()
    save_checkpoint(tmp_path / "none", model)
    save_checkpoint(tmp_path / "default", model, model.config.with_default_rules())
    video = data / "videos" / "a.mp4"
    assert (
        "warning: The model tiny has no start rules, so it never reports"
        in run("detect", video, "--model", tmp_path / "none").err
    )
    assert (
        "warning: The start rules of the model tiny are not calibrated"
        in run("detect", video, "--model", tmp_path / "default").err
    )


@pytest.mark.slow
def test_calibrate_works_for_any_checkpoint_at_its_own_size_and_rate(tmp_path: Path, data: Path) -> None:
    torch.manual_seed(0)
    config = replace(tiny_model().config, image_size=48, sample_hz=4.0)
    save_checkpoint(tmp_path / "model", Cake(config).eval(), config.with_default_rules())
    done = run("train", "calibrate", "--data", data, "--out", tmp_path / "model", "--processes", 1)
    assert done.status == 0, done.err
    calibrated = read_config(tmp_path / "model")
    assert (calibrated.image_size, calibrated.sample_hz) == (48, 4.0)
    assert calibrated.warnings == ()
    assert set(calibrated.start_rules) == {"kick", "punch"}
    assert (tmp_path / "model" / "report.html").is_file()


@pytest.mark.slow
def test_calibrate_takes_several_folders_and_keeps_the_limit_on_all_of_them(tmp_path: Path, data: Path) -> None:
    save_checkpoint(tmp_path / "model", tiny_model())
    shutil.copytree(data, tmp_path / "everyday")
    entry = {"subset": "validation", "duration": 3.0, "annotations": []}
    (tmp_path / "everyday" / "annotations.json").write_text(json.dumps({"database": {"a": entry, "b": entry}}))
    options = ("--out", tmp_path / "model", "--max-false-starts-per-hour", 0, "--processes", 1)
    done = run("train", "calibrate", "--data", data, "--data", tmp_path / "everyday", *options)
    assert done.status == 0, done.err
    everyday = run("eval", "--data", tmp_path / "everyday", "--model", tmp_path / "model", "--by-video", "--json")
    assert everyday.status == 0, everyday.err
    for label in json.loads(everyday.out)["labels"].values():
        assert (label["shown"], label["alarms"], label["auc"]) == (0, 0, None)


def test_calibrate_says_what_it_lacks(tmp_path: Path, data: Path) -> None:
    save_checkpoint(tmp_path / "model", tiny_model())
    done = run("train", "calibrate", "--data", data, "--out", tmp_path / "model", "--subset", "testing")
    assert done.status == 2
    assert "no video of the subsets testing" in done.err
