"""Imported networks compute what the authors' do: other weights and inputs than the golden ones, by another path."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.architectures import cake_s
from model.checkpoints.checkpoint import load_feature_network, load_parts
from model.checkpoints.stored import read_config
from model.detector import Detector
from model.network.cake import Cake
from model.training.feature_files import frame_features
from model.video.preprocess import normalise
from tests.model.network.test_parity import LABELS, relative_error, rule_weights
from tests.support.cake_command import run
from tests.support.paths import GOLDEN
from tests.support.reference_network import feature, student, trunk

Weights = dict[str, Tensor]
EXACT = 1e-5
ROUNDED = 1e-4  # of float32, in the motion branch's gates


def other_weights(seed: int) -> Weights:
    """Of the authors' student; sharper attentions than a random network's, so that a temperature shows."""
    rng, weights = np.random.default_rng(seed), rule_weights("student_keys.json")
    for name, tensor in weights.items():
        if tensor.is_floating_point():
            factor = 4.0 if name.endswith("_fc.weight") else 1.0
            weights[name] = tensor * torch.from_numpy(rng.uniform(0.7, 1.3, tensor.shape).astype(np.float32)) * factor
    return weights


def in_float64(weights: Weights) -> Weights:
    return {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}


def clip_of(seed: int, height: int, width: int, channels: int = 3) -> Tensor:
    noise = np.random.default_rng(seed).standard_normal((1, channels, 13, height, width))
    return torch.from_numpy((noise * 0.5).astype(np.float32))


def test_this_reference_is_the_authors_network() -> None:
    with torch.inference_mode():
        found = student(in_float64(rule_weights("student_keys.json")), clip_of(12345, 160, 160).double())
    golden = np.load(GOLDEN / "student.npz")
    for name, value in (("rgb_embedding", found.static), ("flow_embedding", found.motion)):
        assert relative_error(value[0], golden[f"r160_{name}"]) < EXACT
    assert relative_error(found.motion_logits[0], golden["r160_flow_logits"]) < EXACT


@pytest.mark.slow
def test_an_imported_student_equals_the_reference(tmp_path: Path) -> None:
    temperature = 2.8
    weights, clip = other_weights(101), clip_of(101, 160, 224)
    torch.save({"epoch": 22, "state_dict": weights}, tmp_path / "student.pth")
    status, _, err = run(
        *("models", "import", "--student", tmp_path / "student.pth", "--labels", ",".join(LABELS)),
        *("--temperature", temperature, "--out", tmp_path / "student"),
    )
    assert status == 0, err
    with torch.inference_mode():
        found = load_feature_network(tmp_path / "student").double().clip(clip.double())
        expected = student(in_float64(weights), clip.double(), temperature)
    for ours, theirs in (
        (found.static_map_BCTHW, expected.static_map),
        (found.motion_map_BCTHW, expected.motion_map),
        (found.static_BD, expected.static),
        (found.motion_BD, expected.motion),
    ):
        assert relative_error(ours, theirs) < EXACT


@pytest.mark.slow
def test_features_in_clip_mode_equal_the_reference_on_the_frames_around(tmp_path: Path) -> None:
    weights = other_weights(303)
    torch.save(weights, tmp_path / "student.pth")
    options = ("--labels", "kick", "--image-size", 160, "--sample-hz", 4, "--out", tmp_path / "student")
    assert run("models", "import", "--student", tmp_path / "student.pth", *options)[0] == 0
    frames = np.random.default_rng(1).integers(0, 256, (2, 160, 160, 3), np.uint8)
    static, motion = frame_features(load_feature_network(tmp_path / "student"), frames, "clip")
    clip = torch.from_numpy(normalise(frames[np.clip(np.arange(1 - 6, 1 + 7), 0, 1)])).transpose(0, 1)[None]
    with torch.inference_mode():
        expected = student(in_float64(weights), clip.double())
    assert relative_error(static[1], expected.static[0]) < EXACT
    assert relative_error(motion[1], expected.motion[0]) < ROUNDED


@pytest.mark.slow
def test_a_model_served_in_clip_mode_scores_each_frame_as_the_reference_does(tmp_path: Path) -> None:
    weights, head = other_weights(505), rule_weights("head_keys.json")
    torch.save(weights, tmp_path / "student.pth")
    torch.save(head, tmp_path / "head.pth")
    status, _, err = run(
        *("models", "import", "--student", tmp_path / "student.pth", "--head", tmp_path / "head.pth"),
        *("--labels", ",".join(LABELS), "--sample-hz", 4, "--temperature", 2.8, "--mode", "clip"),
        *("--out", tmp_path / "model"),
    )
    assert status == 0, err
    frames = np.random.default_rng(2).integers(0, 256, (2, 160, 160, 3), np.uint8)
    detector = Detector.load(tmp_path / "model")
    stream = detector.open_stream()
    weights, head, hidden = in_float64(weights), in_float64(head), torch.zeros(1, 1024, dtype=torch.float64)
    for frame in range(2):
        clip = torch.from_numpy(normalise(frames[np.clip(np.arange(frame - 12, frame + 1), 0, None)])).transpose(0, 1)
        with torch.inference_mode():
            found = student(weights, clip[None].double(), 2.8)
            hidden, scores = head_step(head, torch.cat([found.static, found.motion], dim=1), hidden)
        np.testing.assert_allclose(detector.push([stream], frames[frame : frame + 1]), scores, rtol=0, atol=EXACT)


def head_step(weights: Weights, features: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """The authors' head: the hidden state after a frame, and its scores."""
    fused = F.linear(features, weights["layer1.0.weight"], weights["layer1.0.bias"])
    fused = F.relu(F.layer_norm(fused, (fused.shape[1],), weights["layer1.1.weight"], weights["layer1.1.bias"]))
    gru = [weights[f"gru.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    hidden = torch.gru_cell(fused, hidden, *gru)
    logits = F.linear(F.relu(hidden), weights["f_classification.0.weight"], weights["f_classification.0.bias"])
    return hidden, torch.sigmoid(logits)


@pytest.fixture(scope="module")
def teacher_weights() -> Weights:
    """As the authors save their X3D on optical flow: PyTorchVideo's names behind `module.`, and 400 classes."""
    weights = {
        name.replace("head.", "blocks.5."): tensor
        for name, tensor in other_weights(404).items()
        if name.startswith(("blocks.", "head."))
    }
    weights["blocks.0.conv.conv_t.weight"] = weights["blocks.0.conv.conv_t.weight"][:, :2] * 1.2
    return weights


@pytest.mark.slow
def test_an_imported_flow_teacher_equals_the_reference(teacher_weights: Weights, tmp_path: Path) -> None:
    torch.save({f"module.{name}": tensor for name, tensor in teacher_weights.items()}, tmp_path / "flow.pth")
    status, _, err = run("models", "import", "--flow-teacher", tmp_path / "flow.pth", "--out", tmp_path / "teacher")
    assert status == 0, err
    assert "cake train --config cake-s --teacher" in err
    teacher = Cake(read_config(tmp_path / "teacher")).eval()
    parts = {"trunk": teacher.trunk, "static_head": teacher.static_head}
    assert load_parts(tmp_path / "teacher", cake_s(LABELS).trunk.on_flow, parts) == ("trunk", "static_head")
    flow = clip_of(5, 160, 160, channels=2).clamp(-1, 1)
    with torch.inference_mode():
        expected_map = trunk(teacher_weights, flow)
        found_map = teacher.trunk.clip(flow)
        found, expected = teacher.static_head.clip(found_map), feature(teacher_weights, "blocks.5", expected_map)
    assert relative_error(found_map, expected_map) < EXACT
    assert relative_error(found, expected) < EXACT


def test_a_network_of_the_wrong_channels_is_named(teacher_weights: Weights, tmp_path: Path) -> None:
    torch.save(teacher_weights, tmp_path / "flow.pth")
    status, _, err = run("models", "import", "--x3d", tmp_path / "flow.pth", "--labels", "a", "--out", tmp_path / "out")
    assert status == 2
    assert "flow.pth takes 2 channels, not 3: give an X3D of RGB with --x3d" in err
    assert not (tmp_path / "out").exists()
