"""Features of every frame of one video, with their labels: what contrast and head learn from.

Shapes: T frames, D features of a branch, K labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FeatureSequence:
    name: str
    static_TD: NDArray[np.float32]
    """May be a memory map."""
    motion_TD: NDArray[np.float32]
    target_TK: NDArray[np.float32]
    """0 or 1 for each label; column 0 is the background; a frame may have several labels."""
    ambiguous_T: NDArray[np.bool_]
    pts_s_T: NDArray[np.float64]
