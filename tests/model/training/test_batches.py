"""Which windows of labelled frames a network is trained on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.training.batches import TrainingVideo, draw_batch
from model.training.layouts.segments import label_frames

FRAMES, RATE_HZ, SIDE = 300, 10.0, 32


def video(*starts_s: float) -> TrainingVideo:
    pts_s_T = np.arange(FRAMES) / RATE_HZ
    labels = label_frames([(start_s, start_s + 1.0, "fall") for start_s in starts_s], ("background", "fall"), pts_s_T)
    return TrainingVideo(np.zeros((FRAMES, SIDE, SIDE, 3), np.uint8), labels, None)


@given(seed=st.integers(0, 10**6), start_s=st.floats(0.0, 29.0), steps=st.integers(1, FRAMES))
def test_windows_around_starts_contain_one_wherever_it_is(seed: int, start_s: float, steps: int) -> None:
    rng = np.random.default_rng(seed)
    batch = draw_batch([video(start_s)], rng, sequences=2, steps=steps, start_share=1.0)
    assert batch.images_BTCSS.shape[:2] == (2, steps)
    assert (batch.since_start_s_BT == 0).any(dim=1).all()


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0.13), (0.5, 0.56), (1.0, 1.0)])
def test_the_share_of_windows_around_starts_is_that_of_the_recipe(share: float, expected: float) -> None:
    rng = np.random.default_rng(0)
    batch = draw_batch([video(15.0)], rng, sequences=2000, steps=36, start_share=share)
    assert float((batch.since_start_s_BT == 0).any(dim=1).float().mean()) == pytest.approx(expected, abs=0.04)


def test_a_video_without_an_action_is_drawn_from_anywhere() -> None:
    batch = draw_batch([video()], np.random.default_rng(0), sequences=4, steps=36, start_share=1.0)
    assert batch.target_BTK[..., 0].all()
