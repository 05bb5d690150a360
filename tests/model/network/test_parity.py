"""`clip` mode and the head equal numbers measured on the reference implementation, with weights made by a rule."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from model.architectures import cake_s
from model.checkpoints.reference_weights import load_reference_head, load_reference_student
from model.config import BACKGROUND
from model.network.cake import Cake
from model.network.odconv import Attention
from tests.support.paths import GOLDEN

LABELS = (BACKGROUND, *(f"action{index}" for index in range(21)))


def rule_weights(keys_file: str) -> dict[str, Tensor]:
    """The weights of the golden outputs: a random tensor for each sorted key, scaled by what the key is."""
    shapes: dict[str, list[int]] = json.loads((GOLDEN / keys_file).read_text())
    return {key: rule_tensor(index, key, tuple(shapes[key])) for index, key in enumerate(sorted(shapes))}


def rule_tensor(index: int, key: str, shape: tuple[int, ...]) -> Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    r = np.random.default_rng(index).standard_normal(shape).astype(np.float32)
    if key.endswith("running_var"):
        values: NDArray[np.floating] = 0.5 + np.abs(r)
    elif key.endswith(("running_mean", "bias")) or ".bias_" in key:
        values = 0.1 * r
    elif len(shape) <= 1:
        values = 1 + 0.1 * r
    else:
        values = r * np.sqrt(2 / np.prod(shape[2:] if len(shape) == 6 else shape[1:]))
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


@dataclass(frozen=True)
class Reference:
    model: Cake
    student: dict[str, Tensor]
    head: dict[str, Tensor]


@pytest.fixture(scope="module")
def reference() -> Iterator[Reference]:
    student, head = rule_weights("student_keys.json"), rule_weights("head_keys.json")
    model = Cake(cake_s(LABELS)).eval()
    load_reference_student(model, student, "student")
    load_reference_head(model, head, "head")
    with torch.inference_mode():
        yield Reference(model, student, head)


def relative_error(found: ArrayLike, expected: ArrayLike) -> float:
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("size", [160, 224])
def test_clip_mode_equals_the_reference_student(reference: Reference, size: int) -> None:
    golden = np.load(GOLDEN / "student.npz")
    clip = np.random.default_rng(12345).standard_normal((1, 3, 13, size, size)) * 0.5
    features = reference.model.clip(torch.from_numpy(clip.astype(np.float32)))

    def logits(feature_BD: Tensor, classifier: str) -> Tensor:
        weight, bias = reference.student[f"{classifier}.proj.weight"], reference.student[f"{classifier}.proj.bias"]
        return (feature_BD @ weight.T + bias)[0]

    found = {
        "rgb_map_channel_mean": features.static_map_BCTHW.mean(dim=(3, 4))[0],
        "flow_map_channel_mean": features.motion_map_BCTHW.mean(dim=(3, 4))[0],
        "rgb_embedding": features.static_BD[0],
        "flow_embedding": features.motion_BD[0],
        "rgb_logits": logits(features.static_BD, "head"),
        "flow_logits": logits(features.motion_BD, "flow_head"),
    }
    errors = {name: relative_error(value, golden[f"r{size}_{name}"]) for name, value in found.items()}
    assert max(errors.values()) < 1e-4, errors


def test_the_head_equals_the_reference_head(reference: Reference) -> None:
    golden = np.load(GOLDEN / "head.npz")
    static, motion = (
        torch.from_numpy(np.random.default_rng(seed).standard_normal((1, 128, 2048)).astype(np.float32))
        for seed in (1, 2)
    )
    head = reference.model.head
    logits, hidden = head.logits(torch.cat([static, motion], dim=2), head.fresh(1))
    assert relative_error(head.activate(logits)[0], golden["probabilities"]) < 1e-4
    assert relative_error(hidden[0].relu(), golden["last_hidden"]) < 1e-4


def test_an_imported_attention_temperature_is_part_of_the_weights(reference: Reference) -> None:
    clip = torch.from_numpy(np.random.default_rng(1).standard_normal((1, 3, 13, 64, 64)).astype(np.float32))
    cooled, heated = Cake(cake_s(LABELS)).eval(), Cake(cake_s(LABELS)).eval()
    load_reference_student(cooled, reference.student, "student", 4.56)
    load_reference_student(heated, reference.student, "student")
    for module in heated.modules():
        if isinstance(module, Attention):
            module.temperature = 4.56
    with torch.inference_mode():
        expected, found, plain = (model.clip(clip).motion_BD for model in (heated, cooled, reference.model))
    assert relative_error(found, expected) < 1e-5
    assert relative_error(plain, expected) > 1e-4
