"""Random sequences of labelled frames, RGB or optical flow, for causal training.

Shapes: B sequences, T steps, C channels (3 of RGB, 2 of flow), P cached pixels, S pixels of the input, J joints,
G = S / 8 cells of the coverage mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.training.layouts.annotations import Targets
from model.training.views import MARGIN, draw_view, see_pictures, see_targets


@dataclass(frozen=True)
class Batch:
    pictures_BTCSS: Tensor
    target_BT: Tensor
    """Label index of each frame."""
    since_start_s_BT: Tensor
    """Seconds since the action of the frame began; infinity in the background."""
    joints_BTJ2: Tensor | None
    """In [-1, 1] of the crop."""
    mask_BTGG: Tensor | None
    """Share of each cell that the figure covers, in [0, 1]."""


@dataclass(frozen=True)
class TrainingVideo:
    pictures_TPPC: NDArray[Any]
    """RGB uint8 or flow float16, memory-mapped."""
    target_T: NDArray[np.int64]
    since_start_s_T: NDArray[np.float64]
    targets: Targets | None


def draw_batch(videos: Sequence[TrainingVideo], rng: np.random.Generator, *, sequences: int, steps: int) -> Batch:
    """`sequences` random windows of `steps` frames, each with its own view.

    Videos shorter than `steps` frames are not drawn: `ValueError` when none is left. The further targets are given when
    every drawn video has them.
    """
    long_enough = [video for video in videos if len(video.target_T) >= steps]
    if not long_enough:
        raise ValueError(f"no video has {steps} frames; train with shorter sequences or longer videos")
    drawn = [_draw(long_enough[rng.integers(len(long_enough))], rng, steps) for _ in range(sequences)]
    return Batch(
        pictures_BTCSS=torch.stack([one.pictures_BTCSS for one in drawn]),
        target_BT=torch.stack([one.target_BT for one in drawn]),
        since_start_s_BT=torch.stack([one.since_start_s_BT for one in drawn]),
        joints_BTJ2=_stack([one.joints_BTJ2 for one in drawn]),
        mask_BTGG=_stack([one.mask_BTGG for one in drawn]),
    )


def _draw(video: TrainingVideo, rng: np.random.Generator, steps: int) -> Batch:
    """One window, without the dimension B."""
    start = int(rng.integers(len(video.target_T) - steps + 1))
    window = slice(start, start + steps)
    view = draw_view(rng)
    batch = Batch(
        pictures_BTCSS=torch.from_numpy(see_pictures(video.pictures_TPPC[window], view)),
        target_BT=torch.from_numpy(video.target_T[window]),
        since_start_s_BT=torch.from_numpy(video.since_start_s_T[window]),
        joints_BTJ2=None,
        mask_BTGG=None,
    )
    if video.targets is None:
        return batch
    targets = Targets(video.targets.joints_TJ2[window], video.targets.mask_TGG[window])
    joints, mask = see_targets(targets, view, video.pictures_TPPC.shape[1] - MARGIN)
    return replace(batch, joints_BTJ2=torch.from_numpy(joints), mask_BTGG=torch.from_numpy(mask))


def _stack(tensors: Sequence[Tensor | None]) -> Tensor | None:
    present = [tensor for tensor in tensors if tensor is not None]
    return torch.stack(present) if len(present) == len(tensors) else None
