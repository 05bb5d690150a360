"""Which windows of labelled frames a network is trained on."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.architectures import cake_xs
from model.training.batches import TrainingVideo, draw_batch
from model.training.layouts.annotations import Targets
from model.training.layouts.segments import label_frames
from model.training.recipe import SequenceRecipe
from model.training.stages.single_stream import SingleStreamObjective
from model.training.views import MARGIN

FRAMES, RATE_HZ, SIDE = 300, 10.0, 32 + MARGIN
SMALLEST_SIDE = 1 + MARGIN


def video(*starts_s: float, targets: Targets | None = None, side: int = SIDE) -> TrainingVideo:
    pts_s_T = np.arange(FRAMES) / RATE_HZ
    labels = label_frames([(start_s, start_s + 1.0, "fall") for start_s in starts_s], ("background", "fall"), pts_s_T)
    return TrainingVideo(np.zeros((FRAMES, side, side, 3), np.uint8), labels, targets)


@given(seed=st.integers(0, 10**6), start_s=st.floats(0.0, 29.0), steps=st.integers(1, FRAMES))
def test_windows_around_starts_contain_one_wherever_it_is(seed: int, start_s: float, steps: int) -> None:
    rng = np.random.default_rng(seed)
    batch = draw_batch([video(start_s, side=SMALLEST_SIDE)], rng, sequences=2, steps=steps, start_share=1.0)
    assert batch.images_BTCSS.shape[:2] == (2, steps)
    assert (batch.since_start_s_BT == 0).any(dim=1).all()


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0.13), (0.5, 0.56), (1.0, 1.0)])
def test_the_share_of_windows_around_starts_is_that_of_the_recipe(share: float, expected: float) -> None:
    rng = np.random.default_rng(0)
    batch = draw_batch([video(15.0, side=SMALLEST_SIDE)], rng, sequences=2000, steps=36, start_share=share)
    assert float((batch.since_start_s_BT == 0).any(dim=1).float().mean()) == pytest.approx(expected, abs=0.04)


def test_a_video_without_an_action_is_drawn_from_anywhere() -> None:
    batch = draw_batch([video()], np.random.default_rng(0), sequences=4, steps=36, start_share=1.0)
    assert batch.target_BTK[..., 0].all()


@pytest.fixture
def rendered() -> TrainingVideo:
    """With the renderer's data about each frame."""
    joints_TJ2, mask_TGG = np.full((FRAMES, 15, 2), 0.5, np.float32), np.full((FRAMES, 14, 14), 255, np.uint8)
    return video(targets=Targets(joints_TJ2, mask_TGG))


def test_targets_are_drawn_of_the_videos_that_have_them(rendered: TrainingVideo) -> None:
    real = video()
    batch = draw_batch([rendered, real], np.random.default_rng(0), sequences=20, steps=4)
    assert batch.joints_BTJ2 is not None
    assert batch.mask_BTGG is not None
    known_B = batch.joints_BTJ2.isfinite().all(dim=(1, 2, 3))
    assert 0 < known_B.sum() < 20
    assert batch.joints_BTJ2[~known_B].isnan().all()
    assert batch.mask_BTGG[known_B].numpy() == pytest.approx(1)
    assert batch.mask_BTGG[~known_B].isnan().all()
    assert draw_batch([real], np.random.default_rng(0), sequences=2, steps=4).joints_BTJ2 is None


def test_targets_are_learned_beside_videos_without_them(rendered: TrainingVideo) -> None:
    config = replace(cake_xs(("background", "fall")), image_size=SIDE - MARGIN)
    objective = SingleStreamObjective(config, [rendered, video(15.0)], SequenceRecipe(sequences=1, sequence_steps=4))
    rng = np.random.default_rng(0)
    learned = set()
    for step in range(8):
        losses = objective.losses(objective.draw(rng), step)
        assert losses["loss"].isfinite()
        learned.add(bool(losses["renderer"] > 0))
    assert learned == {False, True}
