"""The losses equal numbers measured on the reference implementation, and keep what floating contrast promises."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model.training.losses import frame_loss, frame_weights, sigmoid_focal_loss, supervised_contrastive_loss
from model.training.recipe import LabelWeights
from tests.support.paths import GOLDEN

REFERENCE = np.load(GOLDEN / "loss.npz")


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
    return torch.from_numpy(REFERENCE[name])


@pytest.mark.parametrize(("floating", "name"), [(True, "floating_supcon"), (False, "plain_supcon")])
def test_contrast_equals_the_reference(floating: bool, name: str) -> None:
    queues_KMD = golden("queues").transpose(1, 2)
    found = contrast(golden("query"), golden("key"), queues_KMD, golden("targets"), floating=floating)
    assert found == pytest.approx(float(REFERENCE[name]), rel=1e-6)


def test_focal_loss_equals_the_reference() -> None:
    found = sigmoid_focal_loss(golden("logits")[:, -1], golden("focal_targets")[:, -1])
    assert float(found) == pytest.approx(float(REFERENCE["focal"]), rel=1e-6)


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


WEIGHTS = LabelWeights(background=0.6, smoothing=0.0, onset_s=0.4, onset=0.1)


def loss_of(logits: Tensor, target: Tensor, *, since: Tensor | None = None, ambiguous: Tensor | None = None) -> float:
    """Of one sequence of 8 frames."""
    since = torch.full((1, 8), 5.0) if since is None else since
    ambiguous = torch.zeros(1, 8, dtype=torch.bool) if ambiguous is None else ambiguous
    weight = frame_weights(target, since, ambiguous, WEIGHTS)
    return float(frame_loss(logits, target, weight, WEIGHTS.smoothing))


def test_a_frame_right_after_an_action_began_weighs_less() -> None:
    target = torch.tensor([0.0, 1.0, 0.0]).expand(1, 8, 3)
    wrong = torch.zeros(1, 8, 3)
    wrong[0, 5, 2] = 9.0
    early = torch.full((1, 8), 5.0)
    early[0, 5] = 0.2
    assert loss_of(wrong, target, since=early) < loss_of(wrong, target)


def test_an_ambiguous_frame_has_no_part_in_the_frame_loss() -> None:
    target = torch.tensor([1.0, 0.0, 0.0]).expand(1, 8, 3)
    logits = torch.zeros(1, 8, 3)
    logits[0, 5, 2] = 9.0
    ambiguous = torch.zeros(1, 8, dtype=torch.bool)
    assert loss_of(logits, target) > loss_of(torch.zeros(1, 8, 3), target)
    ambiguous[0, 5] = True
    assert loss_of(logits, target, ambiguous=ambiguous) == pytest.approx(loss_of(torch.zeros(1, 8, 3), target))
    assert loss_of(logits, target, ambiguous=torch.ones(1, 8, dtype=torch.bool)) == 0.0


def test_overlapping_actions_are_to_get_equal_scores() -> None:
    target = torch.tensor([0.0, 1.0, 1.0]).expand(1, 8, 3)

    def with_shares(first: float, second: float) -> float:
        rest = 1 - first - second
        return loss_of(torch.tensor([rest, first, second]).log().expand(1, 8, 3), target)

    assert with_shares(0.49, 0.49) < with_shares(0.97, 0.01)
    assert with_shares(0.97, 0.01) == pytest.approx(with_shares(0.01, 0.97))
