"""`cake train` on the other layouts of the field: per-frame features, and lists of clips."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from model.checkpoints.stored import CheckpointError, read_config
from model.detector import Detector
from model.network.cake import Cake
from model.training.recipe import Recipe
from tests.support.cake_command import Done, run
from tests.support.layout_kit import ACTIONS, SESSIONS, WIDTH, write_thumos
from tests.support.made_videos import write_video
from tests.support.tiny_model import tiny_model
from tests.support.training_kit import SHORTEST, TINY

PUBLISHED_WIDTHS = (2048, 1024)  # of RGB and flow, as TeSTra and MAT share them


def train(data: Path, out: Path, config: str | None, *options: str, recipe: Recipe = TINY) -> Done:
    stored = out.parent / "recipe.json"
    stored.write_text(json.dumps(recipe.to_json()))
    needed = ["--data", str(data), "--out", str(out), "--recipe", str(stored), "--processes", "1"]
    needed += [] if config is None else ["--config", config]
    return run("train", *needed, *options)


def test_a_head_trains_on_feature_folders_and_is_measured_on_their_test_sessions(tmp_path: Path) -> None:
    data, out = write_thumos(tmp_path), tmp_path / "run"
    done = train(data, out, "cake-xs")
    assert done.status == 0, done.err
    assert read_config(out).labels == ACTIONS
    assert read_config(out).head.feature_dim == WIDTH
    assert 0 < json.loads(run("eval", "--data", data, "--model", out, "--json").out)["frame_map"] <= 1
    with pytest.raises(CheckpointError, match="contains only a head, for stored features"):
        load_checkpoint(out)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "widths"), [((), (2048, 1024)), (("--flow", "none"), (2048, 0)), (("--rgb", "none"), (0, 1024))]
)
def test_a_head_trains_on_the_published_widths_and_on_either_kind_of_features(
    tmp_path: Path, options: tuple[str, ...], widths: tuple[int, int]
) -> None:
    data, out = write_thumos(tmp_path, *PUBLISHED_WIDTHS), tmp_path / "run"
    done = train(data, out, "cake-xs", *options)
    assert done.status == 0, done.err
    assert read_config(out).head.feature_widths == widths
    assert 0 < json.loads(run("eval", "--data", data, "--model", out, "--json", *options).out)["frame_map"] <= 1
    with pytest.raises(CheckpointError, match="contains only a head, for stored features"):
        load_checkpoint(out)


def test_a_folder_with_one_kind_of_features_needs_no_option(tmp_path: Path) -> None:
    data, out = write_thumos(tmp_path, *PUBLISHED_WIDTHS), tmp_path / "run"
    shutil.rmtree(data / "flow_kinetics_x3d")
    assert train(data, out, "cake-xs").status == 0
    assert read_config(out).head.feature_widths == (2048, 0)
    shutil.rmtree(data / "rgb_kinetics_x3d")
    done = train(data, tmp_path / "other", "cake-xs")
    assert (done.status, len(done.err.strip().splitlines())) == (2, 1)
    assert "expected a folder rgb_* or flow_*" in done.err


def test_a_session_shorter_than_a_window_is_named(tmp_path: Path) -> None:
    data, name = write_thumos(tmp_path), SESSIONS["train_session_set"][0]
    edit_session(data, name, lambda array: array[:20])
    done = train(data, tmp_path / "run", "cake-xs")
    assert done.status == 0, done.err
    assert f"warning: {name}: 20 frames; the stages that learn from 24 frames at a time do not use it" in done.err


def test_a_label_that_only_sessions_shorter_than_a_window_show_is_rejected(tmp_path: Path) -> None:
    data, (short, long) = write_thumos(tmp_path), SESSIONS["train_session_set"]
    edit_session(data, short, lambda array: array[25:45])
    edit_session(data, long, lambda array: array[:30])
    done = train(data, tmp_path / "run", "cake-xs")
    assert (done.status, len(done.err.strip().splitlines())) == (2, 1)
    assert "no training video that long shows Shotput; give longer videos" in done.err
    assert not (tmp_path / "run").exists()


def edit_session(data: Path, name: str, edit: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
    for folder in data.iterdir():
        path = folder / f"{name}.npy"
        np.save(path, edit(np.load(path)))


def test_other_widths_than_the_model_s_are_reported_before_any_work(tmp_path: Path) -> None:
    data = write_thumos(tmp_path, *PUBLISHED_WIDTHS)
    save_checkpoint(tmp_path / "tiny", tiny_model())
    done = train(data, tmp_path / "run", None, "--from", str(tmp_path / "tiny"))
    assert (done.status, len(done.err.strip().splitlines())) == (2, 1)
    assert "makes features of 16 (static) and 16 (motion) numbers per frame; the folder holds 2048" in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_head_for_a_checkpoint_s_own_features_gives_a_whole_model_of_its_size_and_rate(tmp_path: Path) -> None:
    begun = tiny_model()
    config = replace(
        begun.config, sample_hz=4.0, image_size=64, head=replace(begun.config.head, feature_dim=WIDTH, motion_dim=8)
    )
    save_checkpoint(tmp_path / "begun", Cake(config))
    done = train(write_thumos(tmp_path, WIDTH, 8), tmp_path / "run", None, "--from", str(tmp_path / "begun"))
    assert done.status == 0, done.err
    trained = load_checkpoint(tmp_path / "run")[0]
    assert (trained.config.image_size, trained.config.sample_hz, trained.config.labels) == (64, 4.0, ACTIONS)
    detector = Detector(trained)
    scores = detector.push([detector.open_stream()], np.zeros((1, 64, 64, 3), np.uint8))
    assert scores.shape == (1, len(ACTIONS))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("train", "--data", "FEATURES", "--validation", "v.txt"),
            "--validation has no effect on a folder of per",
        ),
        (("train", "--data", "FEATURES", "--skip-invalid"), "--skip-invalid has no effect on a folder of per-frame"),
        (("train", "trunk", "--data", "FEATURES"), "cake train trunk has no effect on a folder of per-frame features"),
        (("train", "--data", "VIDEOS", "--flow", "none"), "--flow has no effect on a folder of annotated videos"),
        (
            ("train", "--data", "VIDEOS", "--classes", "c.txt"),
            "--classes has no effect on a folder of annotated",
        ),
        (("train", "--data", "CLIPS", "--rgb", "none"), "--rgb has no effect on a list of clips"),
    ],
)
def test_options_that_would_be_ignored_are_rejected(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    data = {"FEATURES": write_thumos(tmp_path), "VIDEOS": tmp_path / "videos", "CLIPS": tmp_path / "clips.txt"}
    data["VIDEOS"].mkdir()
    (data["VIDEOS"] / "annotations.json").touch()
    data["CLIPS"].touch()
    done = run(*(data.get(argument, argument) for argument in arguments), "--out", tmp_path / "run")
    assert (done.status, len(done.err.strip().splitlines())) == (2, 1)
    assert message in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_whole_network_trains_on_lists_of_clips(tmp_path: Path) -> None:
    for index in range(4):
        write_video(tmp_path / f"{index}.mp4", count=90)
    (tmp_path / "train.txt").write_text("0.mp4 kick\n1.mp4 punch\n")
    (tmp_path / "validation.txt").write_text("2.mp4 kick\n3.mp4 punch\n")
    validation = ("--validation", str(tmp_path / "validation.txt"))
    done = train(tmp_path / "train.txt", tmp_path / "run", "cake-xs", *validation, recipe=SHORTEST)
    assert done.status == 0, done.err
    assert load_checkpoint(tmp_path / "run")[0].config.labels == ("background", "kick", "punch")
    assert "measure it on test clips: cake eval --model" in done.err


def test_a_list_of_clips_without_validation_clips_is_rejected_with_the_reason(tmp_path: Path) -> None:
    write_video(tmp_path / "0.mp4", count=90)
    (tmp_path / "train.txt").write_text("0.mp4 kick\n")
    done = train(tmp_path / "train.txt", tmp_path / "run", "cake-xs")
    assert done.status == 2
    assert "--validation LIST" in done.err
