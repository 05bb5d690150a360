"""The losses equal numbers measured on the reference implementation, and keep what floating contrast promises."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model.training.losses import frame_loss, sigmoid_focal_loss, supervised_contrastive_loss
from model.training.recipe import LabelWeights

GOLDEN = np.load(Path(__file__).parent / "golden" / "loss.npz")


def contrast(
    query: Tensor, key: Tensor, queues: Tensor, targets: Tensor, *, floating: bool, filled: Tensor | None = None
) -> float:
    everything = torch.ones(queues.shape[:2], dtype=torch.bool)
    loss = supervised_contrastive_loss(
        query,
        key,
        queues,
        everything if filled is None else filled,
        targets,
        temperature=0.07,
        floating=floating,
        background_bias=-2.0,
    )
    return float(loss)


def golden(name: str) -> Tensor:
    return torch.from_numpy(GOLDEN[name])


@pytest.mark.parametrize(("floating", "name"), [(True, "floating_supcon"), (False, "plain_supcon")])
def test_contrast_equals_the_reference(floating: bool, name: str) -> None:
    queues_KMD = golden("queues").transpose(1, 2)
    found = contrast(golden("query"), golden("key"), queues_KMD, golden("targets"), floating=floating)
    assert found == pytest.approx(float(GOLDEN[name]), rel=1e-6)


def test_focal_loss_equals_the_reference() -> None:
    found = sigmoid_focal_loss(golden("logits")[:, -1], golden("focal_targets")[:, -1])
    assert float(found) == pytest.approx(float(GOLDEN["focal"]), rel=1e-6)


def unit(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(rng.standard_normal(shape)), dim=-1)


@given(st.integers(0, 1000))
def test_floating_background_is_neither_pulled_nor_pushed_by_other_background(seed: int) -> None:
    rng = np.random.default_rng(seed)
    query, key, queues = unit(rng, 1, 8), unit(rng, 1, 8), unit(rng, 3, 5, 8)
    moved = queues.clone()
    moved[0] = unit(rng, 5, 8)
    background = torch.tensor([[1.0, 0.0, 0.0]])
    assert contrast(query, key, queues, background, floating=True) == pytest.approx(
        contrast(query, key, moved, background, floating=True)
    )
    assert contrast(query, key, queues, background, floating=False) != pytest.approx(
        contrast(query, key, moved, background, floating=False)
    )


@given(st.integers(0, 1000))
def test_an_action_gains_from_keys_of_its_label_that_are_near(seed: int) -> None:
    rng = np.random.default_rng(seed)
    query, queues = unit(rng, 1, 8), unit(rng, 3, 5, 8)
    near, far, action = queues.clone(), queues.clone(), torch.tensor([[0.0, 1.0, 0.0]])
    near[1], far[1] = query, -query
    for floating in (True, False):
        assert contrast(query, query, near, action, floating=floating) < contrast(
            query, query, far, action, floating=floating
        )


@given(st.integers(0, 1000), st.integers(0, 5))
def test_places_of_a_queue_that_hold_no_key_yet_do_not_count(seed: int, filled: int) -> None:
    rng = np.random.default_rng(seed)
    query, key, queues = unit(rng, 4, 8), unit(rng, 4, 8), unit(rng, 3, 5, 8)
    targets = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1]])
    marks = (torch.arange(5) < filled).expand(3, -1)
    for floating in (True, False):
        assert contrast(query, key, queues, targets, floating=floating, filled=marks) == pytest.approx(
            contrast(query, key, queues[:, :filled], targets, floating=floating)
        )


def test_a_frame_right_after_an_action_began_weighs_less() -> None:
    weights = LabelWeights(background=0.6, smoothing=0.0, onset_s=0.4, onset=0.1)
    target = torch.ones(1, 8, dtype=torch.int64)
    wrong = torch.zeros(1, 8, 3)
    wrong[0, 5, 2] = 9.0
    early, late = torch.full((1, 8), 5.0), torch.full((1, 8), 5.0)
    early[0, 5] = 0.2
    assert frame_loss(wrong, target, early, weights) < frame_loss(wrong, target, late, weights)
