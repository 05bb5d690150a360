"""Logistic regression on the output of the frozen network's GRU: the only part that is trained from a few clips.

It is convex, so it needs no learning rate and no number of steps, and fitting it again for each left-out clip takes a
second. The learned weights replace the last layer of the network, so the result is served like any other model.

Besides each view of a clip alone, it is trained on each view after a view of another clip, because a camera's stream
does not begin with the action. Such pairs are joined as features, which the network has computed once.

Shapes: N clips, R rows (frames of sequences), T frames, F features of both branches, E encoded ones, B sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from model.metrics import Bools
from model.network.head import Head
from model.training.clips.few.features import FrozenClip

REGULARISATION = 0.05
"""The weight of one clip's loss relative to half the squared length of the weights. Chosen on rendered fights."""
_FIRST_STEPS = 5
"""The number of first steps of a stream, and of a clip that follows another, that carry almost no information."""
_LEAST_DEVIATION = 0.1

_Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Rows:
    """Frames to learn from; each belongs to one clip and follows frames of another, or of the same."""

    encoded_RE: _Floats
    clip_R: NDArray[np.intp]
    before_R: NDArray[np.intp]


@dataclass(frozen=True)
class Classifier:
    """The action's logit against the background: a weight for each encoded feature (E,), and a bias."""

    weight_E: _Floats
    bias: float

    def score(self, encoded_TE: _Floats) -> _Floats:
        """The probability of the action in each frame (T,)."""
        logit_T = encoded_TE @ self.weight_E + np.float32(self.bias)
        return np.asarray(1 / (1 + np.exp(-logit_T)), np.float32)


@torch.inference_mode()
def encode(head: Head, features_BTF: _Floats) -> _Floats:
    """The input of the network's last layer (B, T, E) for streams of features."""
    encoded_BTE, _ = head.encode(torch.from_numpy(features_BTF), head.fresh(len(features_BTF)))
    return np.asarray(encoded_BTE.numpy(), np.float32)


def make_rows(head: Head, clips: Sequence[FrozenClip], rng: np.random.Generator) -> Rows:
    """Each view of each clip, alone and after a view of another clip."""
    encoded: list[_Floats] = []
    places: list[tuple[int, int, int]] = []
    for index, clip in enumerate(clips):
        alone = [encode(head, clip.served_TF[None])[0], *encode(head, clip.views_VTF)]
        for frames_TE in alone:
            kept = _kept(frames_TE)
            encoded.append(kept)
            places.append((index, index, len(kept)))
        for view_TF in clip.views_VTF:
            before = int(rng.integers(len(clips) - 1))
            before += before >= index
            others_VTF = clips[before].views_VTF
            first_TF = others_VTF[int(rng.integers(len(others_VTF)))]
            joined_TE = encode(head, np.concatenate([first_TF, view_TF])[None])[0][len(first_TF) :]
            kept = _kept(joined_TE)
            encoded.append(kept)
            places.append((index, before, len(kept)))
    clip_R, before_R = (np.repeat([p[k] for p in places], [p[2] for p in places]) for k in (0, 1))
    return Rows(np.concatenate(encoded), clip_R, before_R)


def _kept(frames_TE: _Floats) -> _Floats:
    """The frames to learn from. One of two neighbours is enough."""
    return frames_TE[min(_FIRST_STEPS, len(frames_TE) - 1) :: 2]


def fit(
    rows: Rows, positive_N: Bools, left_out: Sequence[int] = (), regularisation: float = REGULARISATION
) -> Classifier:
    """Learn from all rows except those that involve a clip of `left_out`. All clips have equal weight, as do both
    kinds.
    """
    kept_R = ~(np.isin(rows.clip_R, left_out) | np.isin(rows.before_R, left_out))
    clip_R, encoded_RE = rows.clip_R[kept_R], rows.encoded_RE[kept_R]
    target_R = positive_N[clip_R]
    weight_R = 1 / np.bincount(clip_R, minlength=len(positive_N))[clip_R]
    clips = len(np.unique(clip_R))
    for kind in (False, True):
        weight_R[target_R == kind] *= clips / 2 / weight_R[target_R == kind].sum()
    deviation_E = encoded_RE.std(axis=0)
    mean_E, scale_E = encoded_RE.mean(axis=0), deviation_E + _LEAST_DEVIATION * deviation_E.mean()
    model = LogisticRegression(C=regularisation, max_iter=1000)
    model.fit((encoded_RE - mean_E) / scale_E, target_R, sample_weight=weight_R)
    weight_E = np.asarray(model.coef_[0] / scale_E, np.float32)
    return Classifier(weight_E, float(model.intercept_[0] - mean_E @ weight_E))
