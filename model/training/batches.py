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
from model.training.layouts.segments import FrameLabels
from model.training.views import CELL, MARGIN, draw_view, see_images, see_targets


@dataclass(frozen=True)
class Batch:
    """Labelled sequences, each seen through one view."""

    images_BTCSS: Tensor
    target_BTK: Tensor
    """0 or 1 for each label."""
    ambiguous_BT: Tensor
    """Frames that are ignored."""
    since_start_s_BT: Tensor
    """Seconds since the last action to start began; infinity in the background."""
    joints_BTJ2: Tensor | None
    """In [-1, 1] of the crop; NaN where they are unknown. None if they are unknown in every video."""
    mask_BTGG: Tensor | None
    """Share of each cell that the figure covers, in [0, 1]; NaN where it is unknown, None as above."""


@dataclass(frozen=True)
class TrainingVideo:
    """The cached frames or flow of one video, with its labels."""

    images_TPPC: NDArray[Any]
    """RGB uint8 or flow float16, memory-mapped."""
    labels: FrameLabels
    targets: Targets | None


def draw_batch(
    videos: Sequence[TrainingVideo],
    rng: np.random.Generator,
    *,
    sequences: int,
    steps: int,
    flip_share: float = 0.0,
    start_share: float = 0.0,
) -> Batch:
    """Draw `sequences` random windows of `steps` frames, each with its own view; `start_share` of them (0 to 1) contain
    the start of an action, if their video has one.

    Videos shorter than `steps` frames are not drawn; `ValueError` if none is left.
    """
    long_enough = [video for video in videos if len(video.labels.target_TK) >= steps]
    if not long_enough:
        raise ValueError(f"no video has {steps} frames; train with shorter sequences or longer videos")
    chosen = [long_enough[rng.integers(len(long_enough))] for _ in range(sequences)]
    drawn = [_draw(video, _first(video.labels, rng, steps, start_share), rng, steps, flip_share) for video in chosen]
    cells = drawn[0].images_BTCSS.shape[-1] // CELL
    joints = next((video.targets.joints_TJ2.shape[1] for video in videos if video.targets is not None), None)
    return Batch(
        images_BTCSS=torch.stack([one.images_BTCSS for one in drawn]),
        target_BTK=torch.stack([one.target_BTK for one in drawn]),
        ambiguous_BT=torch.stack([one.ambiguous_BT for one in drawn]),
        since_start_s_BT=torch.stack([one.since_start_s_BT for one in drawn]),
        joints_BTJ2=None if joints is None else _stack([one.joints_BTJ2 for one in drawn], (steps, joints, 2)),
        mask_BTGG=None if joints is None else _stack([one.mask_BTGG for one in drawn], (steps, cells, cells)),
    )


def _first(labels: FrameLabels, rng: np.random.Generator, steps: int, start_share: float) -> int:
    """The first frame of a random window."""
    last = len(labels.target_TK) - steps
    begins = np.flatnonzero(labels.since_start_s_T == 0)
    if len(begins) and rng.random() < start_share:
        return int(np.clip(rng.choice(begins) - rng.integers(steps), 0, last))
    return int(rng.integers(last + 1))


def _draw(video: TrainingVideo, first: int, rng: np.random.Generator, steps: int, flip_share: float) -> Batch:
    """The window that begins at `first`, without the dimension B."""
    window = slice(first, first + steps)
    view, labels = draw_view(rng, flip_share=flip_share), video.labels.part(window)
    batch = Batch(
        images_BTCSS=torch.from_numpy(see_images(video.images_TPPC[window], view)),
        target_BTK=torch.from_numpy(labels.target_TK),
        ambiguous_BT=torch.from_numpy(labels.ambiguous_T),
        since_start_s_BT=torch.from_numpy(labels.since_start_s_T),
        joints_BTJ2=None,
        mask_BTGG=None,
    )
    if video.targets is None:
        return batch
    targets = Targets(video.targets.joints_TJ2[window], video.targets.mask_TGG[window])
    joints, mask = see_targets(targets, view, video.images_TPPC.shape[1] - MARGIN)
    return replace(batch, joints_BTJ2=torch.from_numpy(joints), mask_BTGG=torch.from_numpy(mask))


def _stack(tensors: Sequence[Tensor | None], shape: tuple[int, ...]) -> Tensor:
    return torch.stack([torch.full(shape, torch.nan) if tensor is None else tensor for tensor in tensors])
