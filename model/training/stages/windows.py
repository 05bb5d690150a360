"""Windows of feature sequences, from which the head learns.

Shapes: B windows, T steps, F features of both branches, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.training.layouts.feature_sequence import FeatureSequence


@dataclass(frozen=True)
class Windows:
    features_BTF: Tensor
    target_BTK: Tensor
    """0 or 1."""
    since_start_s_BT: Tensor
    """Seconds since the frame's labels began; infinity in the background."""


class WindowSource:
    """Random windows of `steps` frames whose last frame is not ambiguous. All features are held in memory.

    Raises ValueError when no sequence has `steps` frames.
    """

    def __init__(self, sequences: Sequence[FeatureSequence], steps: int) -> None:
        self.steps = steps
        long_enough = [each for each in sequences if len(each.pts_s_T) >= steps]
        if not long_enough:
            raise ValueError(f"no video has {steps} frames; train with shorter windows or longer videos")
        self._features = [
            np.concatenate([each.static_TD, each.motion_TD], axis=1, dtype=np.float32) for each in long_enough
        ]
        self._targets = [each.target_TK for each in long_enough]
        self._since_s = [_since_start_s(each) for each in long_enough]
        self._ends = [
            (index, int(last) + 1)
            for index, each in enumerate(long_enough)
            for last in np.flatnonzero(~each.ambiguous_T[steps - 1 :]) + steps - 1
        ]

    def draw(self, rng: np.random.Generator, windows: int) -> Windows:
        ends = [self._ends[i] for i in rng.integers(len(self._ends), size=windows)]

        def cut(arrays: Sequence[NDArray[np.floating]]) -> Tensor:
            return torch.from_numpy(np.stack([arrays[i][end - self.steps : end] for i, end in ends]))

        return Windows(cut(self._features), cut(self._targets), cut(self._since_s))


def _since_start_s(sequence: FeatureSequence) -> NDArray[np.float32]:
    """Seconds since the labels last changed."""
    changed_T = np.any(np.diff(sequence.target_TK, axis=0, prepend=np.nan) != 0, axis=1)
    began_s_T = np.maximum.accumulate(np.where(changed_T, sequence.pts_s_T, -np.inf))
    since_s_T = np.where(sequence.target_TK[:, 0] > 0, np.inf, sequence.pts_s_T - began_s_T)
    return np.asarray(since_s_T, np.float32)
