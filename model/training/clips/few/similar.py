"""Finds clips that are too alike to show how good a model will be: the same scene twice, or one place for each kind.

Shapes: N clips, P values of a thumbnail, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from model.metrics import Bools
from model.training.clips.few.features import FrozenClip

SAME_PLACE = 0.95
"""Two thumbnails with at least this correlation show the same place. Of 20,000 pairs of clips from different
cameras (real fights, numbers far apart), two reach it.
"""
SAME_CLIP = 0.998
"""If the mean features of two clips in the same place have at least this cosine, the second adds nothing new."""


def places(clips: Sequence[FrozenClip]) -> NDArray[np.intp]:
    """A number for each clip (N,), the same for clips that seem to come from one camera that did not move."""
    return _connected(_correlation(clips) >= SAME_PLACE)


def twins(clips: Sequence[FrozenClip], positive_N: Bools) -> NDArray[np.intp]:
    """A number for each clip (N,), the same for clips of one kind that are nearly the same."""
    return _connected(_alike(clips) & (positive_N[:, None] == positive_N))


def contradictions(clips: Sequence[FrozenClip], positive_N: Bools) -> list[list[int]]:
    """Groups of clips that are nearly the same and yet of both kinds."""
    group_N = _connected(_alike(clips))
    both = np.intersect1d(group_N[positive_N], group_N[~positive_N])
    return [np.flatnonzero(group_N == group).tolist() for group in both]


def _alike(clips: Sequence[FrozenClip]) -> Bools:
    mean_NF = np.stack([clip.served_TF.mean(axis=0) for clip in clips])
    unit_NF = mean_NF / (np.linalg.norm(mean_NF, axis=1, keepdims=True) + 1e-9)
    alike_NN: Bools = (unit_NF @ unit_NF.T >= SAME_CLIP) & (_correlation(clips) >= SAME_PLACE)
    return alike_NN


def _correlation(clips: Sequence[FrozenClip]) -> NDArray[np.floating]:
    thumbnail_NP = np.stack([clip.thumbnail_P for clip in clips])
    centred_NP = thumbnail_NP - thumbnail_NP.mean(axis=1, keepdims=True)
    unit_NP = centred_NP / (np.linalg.norm(centred_NP, axis=1, keepdims=True) + 1e-9)
    correlation_NN: NDArray[np.floating] = unit_NP @ unit_NP.T
    return correlation_NN


def _connected(alike_NN: Bools) -> NDArray[np.intp]:
    group_N = np.arange(len(alike_NN))
    for first, second in combinations(range(len(group_N)), 2):
        if alike_NN[first, second]:
            group_N[group_N == group_N[second]] = group_N[first]
    return group_N
