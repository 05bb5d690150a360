"""The causal network: one frame at a time equals the whole sequence, and later frames do not change earlier outputs."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.architectures import cake_xs
from model.checkpoints.checkpoint import save_checkpoint
from model.compiled.state import StateError
from model.config import HeadConfig, ModelConfig
from model.detector import Detector
from model.network.cake import Cake
from model.video.preprocess import normalise
from tests.support.random_networks import LABELS, network_of, random_frames, random_network

NAMES = [pytest.param("cake-s", marks=pytest.mark.slow), "cake-xs"]


@cache
def random_detector(name: str, size: int) -> Detector:
    """Its graphs are compiled once for all tests of this file."""
    return Detector(random_network(name, size))


def as_tensor(frames_BTHWC: NDArray[np.uint8]) -> torch.Tensor:
    flat = normalise(frames_BTHWC.reshape(-1, *frames_BTHWC.shape[2:]))
    x_BTCHW: torch.Tensor = torch.from_numpy(flat).unflatten(0, frames_BTHWC.shape[:2])
    return x_BTCHW


def sequence_scores(model: Cake, frames_BTHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    with torch.inference_mode():
        scores: NDArray[np.float32] = model.head.activate(model.sequence(as_tensor(frames_BTHWC))).numpy()
    return scores


def streamed_scores(detector: Detector, frames_BTHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    streams = [detector.open_stream() for _ in frames_BTHWC]
    return np.stack([detector.push(streams, frames_BTHWC[:, t]) for t in range(frames_BTHWC.shape[1])], axis=1)


@pytest.mark.parametrize(
    ("name", "size"),
    [("cake-s", 64), pytest.param("cake-s", 192, marks=pytest.mark.slow), ("cake-xs", 64), ("cake-xs", 112)],
)
def test_forty_steps_equal_the_causal_sequence(name: str, size: int) -> None:
    model, frames = random_network(name, size), random_frames(1, 40, size)
    expected = sequence_scores(model, frames)
    assert np.ptp(expected, axis=1).max() > 0.01, "the scores must move, or this compares constants"
    np.testing.assert_allclose(streamed_scores(random_detector(name, size), frames), expected, atol=1e-4)


def test_a_stream_shows_the_background_alone_until_it_has_settled() -> None:
    model, frames = random_network("cake-xs", 64), random_frames(2, 12, 64)
    expected = streamed_scores(random_detector("cake-xs", 64), frames)
    settling = Detector(network_of(replace(model.config, settle_s=0.4)))
    early, late = settling.open_stream(), settling.open_stream()
    for t in range(2):
        settling.push([early], frames[:1, t])
    early = settling.open_stream(early.save())
    found = np.stack([settling.push([early, late], np.stack([frames[0, 2 + t], frames[1, t]])) for t in range(10)])
    np.testing.assert_array_equal(found[:2, 0], [[1, 0, 0, 0]] * 2)
    np.testing.assert_array_equal(found[:4, 1], [[1, 0, 0, 0]] * 4)
    np.testing.assert_allclose(found[2:, 0], expected[0, 4:], atol=1e-5)
    np.testing.assert_allclose(found[4:, 1], expected[1, 4:10], atol=1e-5)


SMALL = replace(
    cake_xs(LABELS),
    image_size=40,
    settle_s=0.0,
    trunk=replace(cake_xs(LABELS).trunk, widths=(8, 16), depths=(2, 2), strides=(2, 1)),
    head=HeadConfig(projection_width=16, feature_dim=16, pool_steps=3, fused_dim=16, hidden_dim=16),
)


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        replace(SMALL, motion_kernels=1, head=replace(SMALL.head, motion_dim=24, pool="average_max", pool_size=3)),
        replace(SMALL, head=replace(SMALL.head, residual=True, activation="softmax", pool_steps=1)),
        replace(SMALL, trunk=replace(SMALL.trunk, frame_difference=False, stem_taps=1, window_steps=1)),
        replace(SMALL, trunk=replace(SMALL.trunk, stem_kernel=3, stem_stride=2, widths=(12, 12), strides=(1, 2))),
    ],
)
def test_every_choice_of_the_configuration_is_served_as_it_is_trained(config: ModelConfig) -> None:
    model, frames = network_of(config), random_frames(2, 16, config.image_size)
    expected = sequence_scores(model, frames)
    assert np.ptp(expected, axis=1).max() > 0.003, "the scores must move, or this compares constants"
    np.testing.assert_allclose(streamed_scores(Detector(model), frames), expected, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_torch_step_equals_the_last_frame_of_the_sequence(name: str) -> None:
    model, frames = random_network(name, 64), random_frames(2, 30, 64)
    expected, x_BTCHW, state = sequence_scores(model, frames), as_tensor(frames), model.fresh(2)
    with torch.inference_mode():
        for t in range(30):
            scores, state = model.step(x_BTCHW[:, t], state)
            np.testing.assert_allclose(scores.numpy(), expected[:, t], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_changing_the_future_changes_nothing_before_it(name: str) -> None:
    model, frames = random_network(name, 64), random_frames(2, 24, 64)
    other = frames.copy()
    other[:, 17:] = random_frames(2, 7, 64, seed=1)
    scores, other_scores = sequence_scores(model, frames), sequence_scores(model, other)
    np.testing.assert_array_equal(scores[:, :17], other_scores[:, :17])
    assert np.abs(scores[:, 17:] - other_scores[:, 17:]).max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_batched_streams_score_as_the_same_streams_alone(name: str) -> None:
    detector, frames = random_detector(name, 64), random_frames(4, 20, 64)
    together = streamed_scores(detector, frames)
    alone = np.concatenate([streamed_scores(detector, frames[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_streams_of_different_age_share_a_batch(name: str) -> None:
    detector, frames = random_detector(name, 64), random_frames(2, 24, 64)
    early, late = detector.open_stream(), detector.open_stream()
    for t in range(10):
        detector.push([early], frames[:1, t])
    mixed = [detector.push([early, late], np.stack([frames[0, 10 + t], frames[1, t]]))[1] for t in range(14)]
    np.testing.assert_allclose(mixed, streamed_scores(detector, frames[1:, :14])[0], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_and_restored_stream_continues_as_if_uninterrupted(name: str) -> None:
    detector, frames = random_detector(name, 64), random_frames(1, 30, 64)
    expected = streamed_scores(detector, frames)[0]
    stream = detector.open_stream()
    scores = []
    for t in range(30):
        if t in (1, 13, 20):
            stream = detector.open_stream(stream.save())
        scores.append(detector.push([stream], frames[:, t])[0])
    np.testing.assert_array_equal(scores, expected)


def test_the_state_of_another_model_is_refused() -> None:
    saved = random_detector("cake-xs", 64).open_stream().save()
    with pytest.raises(StateError, match="another network"):
        random_detector("cake-s", 64).open_stream(saved)
    with pytest.raises(StateError, match="cannot be read"):
        random_detector("cake-s", 64).open_stream(b"not a state")


def test_a_signal_is_survived_after_another_thread_dropped_a_detector() -> None:
    program = """
import gc, os, signal, threading
from model.detector import Detector
signal.signal(signal.SIGUSR1, lambda *_: print("handled", flush=True))
detectors = [Detector.load("mocap")]
detectors[0].open_stream()
def drop():
    detectors.clear()
    gc.collect()
thread = threading.Thread(target=drop)
thread.start()
thread.join()
os.kill(os.getpid(), signal.SIGUSR1)
print("alive", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["handled", "alive"]), done.stderr


def test_the_runtime_reports_its_use_to_nobody(tmp_path: Path) -> None:
    """OpenVINO's telemetry begins with a file in the home folder."""
    program = "from model.compiled.runtime import StepRuntime"
    home = {**os.environ, "HOME": str(tmp_path), "CI": ""}
    done = subprocess.run([sys.executable, "-c", program], env=home, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_frames_of_the_wrong_size_are_refused() -> None:
    detector = random_detector("cake-xs", 64)
    with pytest.raises(ValueError, match="64 x 64"):
        detector.push([detector.open_stream()], np.zeros((1, 32, 32, 3), np.uint8))


def test_a_checkpoint_gives_the_same_scores_after_saving_and_loading(tmp_path: Path) -> None:
    model, frames = random_network("cake-xs", 64), random_frames(1, 5, 64)
    save_checkpoint(tmp_path / "saved", model)
    loaded = Detector.load(tmp_path / "saved")
    assert loaded.name == "saved"
    assert loaded.config == ModelConfig.from_json(model.config.to_json()) == model.config
    np.testing.assert_array_equal(streamed_scores(loaded, frames), streamed_scores(Detector(model), frames))


@pytest.mark.parametrize("name", NAMES)
def test_training_teaches_every_frame_through_the_causal_network(name: str) -> None:
    model = random_network(name, 32).train()
    logits_BTK = model.sequence(as_tensor(random_frames(2, 6, 32)))
    assert logits_BTK.shape == (2, 6, len(LABELS))
    logits_BTK.square().mean().backward()
    without = [key for key, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert without == []
