"""Clip mode: the paper's computation frame by frame, as served, and as the paper measures it."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.checkpoints.checkpoint import save_checkpoint
from model.compiled.state import StateError
from model.detector import Detector, Stream
from model.network.cake import Cake
from model.training.evaluation.centred_clips import CentredClips
from model.training.frame_cache import Frames
from model.training.layouts.annotations import LabelledVideo
from model.video.preprocess import normalise
from tests.support.cake_command import run
from tests.support.made_videos import write_video
from tests.support.random_networks import random_frames
from tests.support.tiny_model import tiny_model

STEPS = 13


@pytest.fixture(scope="module")
def network() -> Cake:
    model = tiny_model()
    model.config = replace(model.config, mode="clip")
    return model


def scores_of_clips(network: Cake, frames_THWC: NDArray[np.uint8], *, last: int) -> NDArray[np.float32]:
    """Scores of every frame, from the clip of 13 frames that ends `last` frames after it."""
    features = []
    for frame in range(len(frames_THWC)):
        index = np.clip(np.arange(frame + last + 1 - STEPS, frame + last + 1), 0, len(frames_THWC) - 1)
        found = network.clip(torch.from_numpy(normalise(frames_THWC[index])).transpose(0, 1)[None])
        features.append(torch.cat([found.static_BD, found.motion_BD], dim=1))
    scores: NDArray[np.float32] = network.head(torch.cat(features)[None])[0].numpy()
    return scores


def push_all(detector: Detector, stream: Stream, frames_THWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.stack([detector.push([stream], frame[None])[0] for frame in frames_THWC])


@torch.inference_mode()
def test_each_frame_is_scored_from_the_clip_that_it_ends(network: Cake) -> None:
    detector, frames = Detector(network), random_frames(2, 20, 32)
    assert detector.config.mode == "clip"
    streams = [detector.open_stream(), detector.open_stream()]
    found = np.stack([detector.push(streams, frames[:, t]) for t in range(20)], axis=1)
    for scores, of_stream in zip(found, frames, strict=True):
        np.testing.assert_allclose(scores, scores_of_clips(network, of_stream, last=0), atol=1e-5)
    causal = Detector(network, mode="causal")
    assert np.abs(found[0] - push_all(causal, causal.open_stream(), frames[0])).max() > 1e-4


@pytest.mark.parametrize("seen", [3, 16])
def test_a_saved_stream_continues_bit_by_bit_in_another_detector(network: Cake, seen: int) -> None:
    frames, detector = random_frames(1, 20, 32)[0], Detector(network)
    whole = push_all(detector, detector.open_stream(), frames)
    stream = detector.open_stream()
    push_all(detector, stream, frames[:seen])
    other = Detector(network)
    resumed = other.open_stream(stream.save())
    assert resumed.frames == seen
    np.testing.assert_array_equal(push_all(other, resumed, frames[seen:]), whole[seen:])


@pytest.mark.parametrize("saved", [b"", b"no state"])
def test_a_state_of_another_model_or_none_is_rejected(network: Cake, saved: bytes) -> None:
    causal = Detector(network, mode="causal")
    for state in (saved, causal.open_stream().save()):
        with pytest.raises(StateError):
            Detector(network).open_stream(state)


@torch.inference_mode()
def test_the_paper_measures_clips_around_each_frame(network: Cake) -> None:
    frames, video = random_frames(1, 20, 32)[0], LabelledVideo("a", Path("a.mp4"), "testing", ())
    (scored,) = CentredClips(network).score([video], lambda _: Frames(frames, np.arange(20) / 4), lambda *_: None)
    np.testing.assert_allclose(scored.scores, scores_of_clips(network, frames, last=6), atol=1e-5)


def test_threads_sleep_while_they_wait_for_each_other(tmp_path: Path, network: Cake) -> None:
    save_checkpoint(tmp_path / "model", network)
    program = "import sys; from model.detector import Detector; Detector.load(sys.argv[1])"
    environ = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    loaded = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "model"],
        env={**environ, "OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "GOMP_SPINCOUNT = '0'" in loaded.stderr


def test_eval_runs_as_the_checkpoint_says_or_as_asked(tmp_path: Path, network: Cake) -> None:
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", count=90)
    annotations = [{"label": label, "segment": segment} for label, segment in (("kick", [0, 1]), ("punch", [2, 3]))]
    database = {"a": {"subset": "testing", "annotations": annotations}}
    (tmp_path / "annotations.json").write_text(json.dumps({"database": database}))
    save_checkpoint(tmp_path / "model", network)

    def report(*options: str) -> str:
        arguments = ("eval", "--data", tmp_path, "--model", tmp_path / "model", "--processes", 1, "--json", *options)
        status, out, err = run(*arguments, "--cache", tmp_path / "cache")
        assert status == 0, err
        return out

    assert len({report(), report("--mode", "causal"), report("--mode", "centred-clip")}) == 3
