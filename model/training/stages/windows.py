"""Windows of feature sequences, from which the head learns.

Shapes: B windows, T steps, F features of both branches, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.training.layouts.feature_sequence import FeatureSequence
from model.training.layouts.segments import FrameLabels


@dataclass(frozen=True)
class Windows:
    """A batch of windows of features, with the labels of each frame."""

    features_BTF: Tensor
    target_BTK: Tensor
    """0 or 1."""
    ambiguous_BT: Tensor
    """Frames that are ignored."""
    since_start_s_BT: Tensor
    """Seconds since the last action to start began; infinity in the background."""


class WindowSource:
    """Random windows of `steps` frames whose last frame is not ambiguous. All features are held in memory.

    With `pad`, windows may begin before their stream: they are filled with zeros, which are ignored.

    Raises:
        ValueError: no sequence has `steps` frames, and they are not padded.
    """

    def __init__(self, sequences: Sequence[FeatureSequence], steps: int, *, pad: bool = False) -> None:
        self.steps = steps
        padded = [_with_zeros_before(each, steps - 1 if pad else 0) for each in sequences]
        long_enough = [(features, labels) for features, labels in padded if len(features) >= steps]
        if not long_enough:
            raise ValueError(f"no video has {steps} frames; train with shorter windows or longer videos")
        self._features = [features for features, _ in long_enough]
        self._labels = [labels for _, labels in long_enough]
        self._ends = [
            (index, int(last) + 1)
            for index, labels in enumerate(self._labels)
            for last in np.flatnonzero(~labels.ambiguous_T[steps - 1 :]) + steps - 1
        ]
        if not self._ends:
            raise ValueError("every frame of the training videos is ambiguous")

    def draw(self, rng: np.random.Generator, windows: int) -> Windows:
        """Windows of `steps` frames that end at random frames, drawn with replacement."""
        ends = [self._ends[i] for i in rng.integers(len(self._ends), size=windows)]

        def cut(arrays: Sequence[NDArray[np.generic]]) -> Tensor:
            return torch.from_numpy(np.stack([arrays[i][end - self.steps : end] for i, end in ends]))

        return Windows(
            cut(self._features),
            cut([labels.target_TK for labels in self._labels]),
            cut([labels.ambiguous_T for labels in self._labels]),
            cut([labels.since_start_s_T for labels in self._labels]),
        )


def _with_zeros_before(sequence: FeatureSequence, frames: int) -> tuple[NDArray[np.float32], FrameLabels]:
    """The features (T, F) of both branches, and the labels."""
    labels = sequence.labels
    features_TF = np.concatenate([sequence.static_TD, sequence.motion_TD], axis=1, dtype=np.float32)
    if not frames:
        return features_TF, labels

    def before(array: NDArray[Any], value: float) -> NDArray[Any]:
        return np.concatenate([np.full((frames, *array.shape[1:]), value, array.dtype), array])

    before_labels = FrameLabels(
        before(labels.target_TK, 0), before(labels.ambiguous_T, True), before(labels.since_start_s_T, np.inf)
    )
    return before(features_TF, 0), before_labels
