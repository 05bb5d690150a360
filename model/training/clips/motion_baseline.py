"""What motion alone tells of a clip: statistics of frame differences and of optical flow, and logistic regression.

The yardstick of a clip classifier: a network that is no better has learnt how much moves, not what happens. It sees the
same frames as the network, sampled by media time, so it cannot lean on a file's frame rate, size or length.

Shapes: N clips, T frames, S pixels, F statistics.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from model.metrics import Bools, Floats
from model.training.flow import dis_flow

_PERCENTILES = (50, 75, 90, 95, 99)
_SMALLEST = 1e-3


def motion_statistics(images_TSS3: NDArray[np.uint8]) -> Floats:
    """Logarithms of how strong, how widespread and how unsteady the motion is (F,).

    For the absolute frame difference (of grey levels in 0..1) and for the optical flow's length (in pixels): mean,
    deviation, percentiles, the frame means' deviation, extremes and mean change, and the mean deviation within a frame.

    Raises ValueError for fewer than two frames.
    """
    if len(images_TSS3) < 2:
        raise ValueError("motion needs two frames")
    grey_TSS = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images_TSS3]).astype(np.float32) / 255
    difference_TSS = np.abs(np.diff(grey_TSS, axis=0))
    flow_TSS2 = dis_flow(images_TSS3)[1:].astype(np.float32)
    values = [*_describe(difference_TSS), *_describe(np.hypot(flow_TSS2[..., 0], flow_TSS2[..., 1]))]
    return np.log(np.array(values, np.float64) + _SMALLEST)


def _describe(strength_TSS: NDArray[np.float32]) -> list[float]:
    strength_TP = strength_TSS.reshape(len(strength_TSS), -1)
    mean_T = strength_TP.mean(axis=1)
    values = [
        strength_TP.mean(),
        strength_TP.std(),
        *np.percentile(strength_TP, _PERCENTILES),
        mean_T.std(),
        mean_T.max(),
        mean_T.min(),
        np.abs(np.diff(mean_T)).mean() if len(mean_T) > 1 else 0.0,
        strength_TP.std(axis=1).mean(),
    ]
    return [float(value) for value in values]


def baseline_scores(learnt_NF: Floats, positive_N: Bools, asked_NF: Floats) -> Floats:
    """The probability, for each of the asked clips, that it is positive, learnt from the others."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    model.fit(learnt_NF, positive_N)
    scores_N: Floats = model.predict_proba(asked_NF)[:, 1]
    return scores_N
