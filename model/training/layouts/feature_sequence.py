"""Features of every frame of one video, with their labels: the training data of contrast and head.

Shapes: T frames, D features of a branch, K labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.training.layouts.segments import FrameLabels


@dataclass(frozen=True)
class FeatureSequence:
    """Features of both branches and labels of each frame of one video."""

    name: str
    static_TD: NDArray[np.float32]
    """May be a memory map. The two branches may have different widths; one of them may have none."""
    motion_TD: NDArray[np.float32]
    labels: FrameLabels
    pts_s_T: NDArray[np.float64]
    identity: str = ""
    """Identity of the files from which it was read."""
