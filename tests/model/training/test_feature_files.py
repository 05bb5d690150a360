"""`cake features`: a checkpoint's features of videos, causally and in the paper's clips, and heads trained on them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from model.config import BACKGROUND
from model.detector import Detector
from model.network.cake import Cake
from model.training.feature_files import frame_features
from model.video.preprocess import normalise
from tests.support.cake_command import run
from tests.support.made_videos import write_video
from tests.support.random_networks import random_frames
from tests.support.tiny_model import tiny_model
from tests.support.training_kit import TINY


def test_the_head_on_causal_features_scores_as_the_detector_serves() -> None:
    network, frames = tiny_model(), random_frames(1, 25, 32)[0]
    static_TD, motion_TD = frame_features(network, frames, "causal")
    with torch.inference_mode():
        found = network.head(torch.from_numpy(np.concatenate([static_TD, motion_TD], axis=1))[None])[0].numpy()
    detector = Detector(network)
    stream = detector.open_stream()
    served = np.stack([detector.push([stream], frame[None])[0] for frame in frames])
    np.testing.assert_allclose(found, served, atol=1e-4)


def test_clip_features_are_those_of_the_clip_around_each_frame() -> None:
    network, frames = tiny_model(), random_frames(1, 20, 32)[0]
    static_TD, motion_TD = frame_features(network, frames, "clip")
    assert len(static_TD) == len(motion_TD) == 20
    for centre in (0, 9, 19):
        clip = frames[np.clip(np.arange(centre - 6, centre + 7), 0, 19)]
        with torch.inference_mode():
            expected = network.clip(torch.from_numpy(normalise(clip)).transpose(0, 1)[None])
        np.testing.assert_allclose(static_TD[centre], expected.static_BD[0], atol=1e-5)
        np.testing.assert_allclose(motion_TD[centre], expected.motion_BD[0], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["causal", "clip"])
def test_a_head_trained_on_a_model_s_features_completes_it(tmp_path: Path, mode: str) -> None:
    config = replace(tiny_model().config, sample_hz=4.0)
    save_checkpoint(tmp_path / "student", Cake(config).eval(), parts=("trunk", "static_head", "motion", "motion_head"))
    (tmp_path / "data" / "videos").mkdir(parents=True)
    database = {}
    for name, subset in (("a", "training"), ("b", "training"), ("t", "testing")):
        write_video(tmp_path / "data" / "videos" / f"{name}.mp4", count=240)
        annotations = [{"label": "wave", "segment": [2, 4]}]
        database[name] = {"subset": subset, "annotations": annotations}
    (tmp_path / "data" / "annotations.json").write_text(json.dumps({"database": database}))
    student, features, out = tmp_path / "student", tmp_path / "features", tmp_path / "model"
    done = run("features", "--data", tmp_path / "data", "--model", student, "--out", features, "--mode", mode)
    assert done.status == 0, done.err
    (tmp_path / "recipe.json").write_text(json.dumps(TINY.to_json()))
    options = ("--data", features, "--out", out, "--from", student, "--recipe", tmp_path / "recipe.json")
    done = run("train", *options, "--processes", 1)
    assert done.status == 0, done.err
    assert "not calibrated" in done.err
    trained = load_checkpoint(out)[0].config
    assert (trained.labels, trained.sample_hz, trained.image_size) == ((BACKGROUND, "wave"), 4.0, 32)
    assert trained.mode == mode
    assert run("eval", "--data", features, "--model", out).status == 0
    detected = run("detect", tmp_path / "data" / "videos" / "t.mp4", "--model", out)
    assert detected.status == 0, detected.err


def test_a_checkpoint_without_a_motion_branch_makes_no_features(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "x3d", tiny_model(), parts=("trunk", "static_head"))
    done = run("features", "--data", tmp_path, "--model", tmp_path / "x3d", "--out", tmp_path / "out")
    assert (done.status, done.err.strip()) == (2, "cake: x3d cannot make features: it lacks motion, motion_head")
