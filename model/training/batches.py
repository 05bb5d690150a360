"""Random sequences of labelled frames for causal training.

Frames are cached `MARGIN` pixels larger than the network's input: half of the sequences are a random crop, the others
the whole picture made smaller, which is what the network is served.

Shapes: B sequences, T steps, C = 3 channels, S pixels of the input, J joints, G = S / 8 cells of the coverage mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model.preprocess import normalise
from model.training.data import (
    Frames,
    LabelledVideo,
    Targets,
    frame_targets,
    load_frames,
    read_targets,
    time_in_segment,
)

Floats = NDArray[np.float32]

CELL = 8
"""Pixels of one cell of the coverage mask; crops start at multiples of it, so that cells stay whole."""
MARGIN = 2 * CELL
WHOLE_SHARE = 0.5


@dataclass(frozen=True)
class Batch:
    images_BTCSS: Tensor
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
    frames: Frames
    target_T: NDArray[np.int64]
    since_start_s_T: NDArray[np.float64]
    targets: Targets | None


def load_training_videos(
    videos: Sequence[LabelledVideo],
    labels: Sequence[str],
    data_dir: Path,
    cache_dir: Path,
    *,
    sample_hz: float,
    size: int,
) -> list[TrainingVideo]:
    loaded = []
    for video in videos:
        frames = load_frames(cache_dir, video.name, sample_hz=sample_hz, size=size)
        target_T = frame_targets(video, labels, frames.pts_s_T)
        targets = read_targets(data_dir, video.name)
        loaded.append(TrainingVideo(frames, target_T, time_in_segment(video, frames.pts_s_T), targets))
    return loaded


_Drawn = tuple[Floats, NDArray[np.int64], NDArray[np.float64], Floats | None, Floats | None]
"""Images, target, seconds since the start, joints and mask of one sequence."""


def draw_batch(
    videos: Sequence[TrainingVideo], rng: np.random.Generator, *, sequences: int, steps: int, crop: int
) -> Batch:
    """`sequences` random windows of `steps` frames, each with its own crop, order of colours and gains.

    Videos shorter than `steps` frames are not drawn. The further targets are given when every drawn video has them.
    """
    long_enough = [video for video in videos if len(video.target_T) >= steps]
    if not long_enough:
        raise ValueError(f"no video has {steps} frames; train with shorter sequences or longer videos")
    drawn = [_draw(long_enough[rng.integers(len(long_enough))], rng, steps, crop) for _ in range(sequences)]
    images, target, since, joints, masks = zip(*drawn, strict=True)
    return Batch(
        images_BTCSS=torch.from_numpy(np.stack(images)),
        target_BT=torch.from_numpy(np.stack(target)),
        since_start_s_BT=torch.from_numpy(np.stack(since)),
        joints_BTJ2=None if any(j is None for j in joints) else torch.from_numpy(np.stack(joints)),
        mask_BTGG=None if any(m is None for m in masks) else torch.from_numpy(np.stack(masks)),
    )


def _draw(video: TrainingVideo, rng: np.random.Generator, steps: int, crop: int) -> _Drawn:
    start = int(rng.integers(len(video.target_T) - steps + 1))
    window = slice(start, start + steps)
    images_TSSC = video.frames.images_TSS3[window][..., rng.permutation(3)]
    cached = images_TSSC.shape[1]
    whole = rng.random() < WHOLE_SHARE
    top, left = (CELL * int(rng.integers((cached - crop) // CELL + 1)) for _ in range(2))
    if not whole:
        images_TSSC = images_TSSC[:, top : top + crop, left : left + crop]
    images_TCSS = normalise(images_TSSC) * rng.uniform(0.8, 1.25, size=(1, 3, 1, 1)).astype(np.float32)
    joints: Floats | None = None
    mask: Floats | None = None
    if video.targets is not None:
        joints = video.targets.joints_TJ2[window]
        mask = _resize(video.targets.mask_TGG[window, None].astype(np.float32) / np.float32(255), cached // CELL)
        if not whole:
            middle = np.array([left + crop / 2, top + crop / 2], dtype=np.float32) * 2 / cached - 1
            joints = (joints - middle) * np.float32(cached / crop)
            mask = mask[:, :, top // CELL : (top + crop) // CELL, left // CELL : (left + crop) // CELL]
    if whole:
        images_TCSS = _resize(images_TCSS, crop)
        mask = None if mask is None else _resize(mask, crop // CELL)
    mask = None if mask is None else mask[:, 0]
    return images_TCSS, video.target_T[window], video.since_start_s_T[window], joints, mask


def _resize(pictures_TCSS: Floats, size: int) -> Floats:
    if pictures_TCSS.shape[-1] == size:
        return pictures_TCSS
    sized: Floats = F.interpolate(torch.from_numpy(pictures_TCSS), size=size, mode="bilinear", antialias=True).numpy()
    return sized
