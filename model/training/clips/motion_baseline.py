"""A baseline from motion alone: logistic regression on statistics of frame differences and of optical flow.

A clip classifier is compared with it: a network that is no better has learnt how much moves, not what happens. It sees
the same frames as the network, sampled by media time, so it cannot exploit a file's frame rate, size or length.

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
_LEAST_CONTRAST = 0.05


def motion_statistics(images_TSS3: NDArray[np.uint8]) -> Floats:
    """Logarithms of the strength, extent and unsteadiness of the motion (F,).

    For the absolute difference of frames (of blurred grey levels in 0..1), the same against the clip's contrast, the
    length of the optical flow (in pixels) and of its change: mean, deviation, percentiles, the frame means' deviation,
    extremes and mean change, and the mean deviation within a frame.

    Raises ValueError for fewer than three frames.
    """
    if len(images_TSS3) < 3:
        raise ValueError("a change of motion needs three frames")
    grey_TSS = np.stack([_blurred_grey(image) for image in images_TSS3])
    difference_TSS = np.abs(np.diff(grey_TSS, axis=0))
    flow_TSS2 = dis_flow(images_TSS3)[1:].astype(np.float32)
    strengths = (
        difference_TSS,
        difference_TSS / (grey_TSS.std() + _LEAST_CONTRAST),
        _length(flow_TSS2),
        _length(np.diff(flow_TSS2, axis=0)),
    )
    values = [value for strength_TSS in strengths for value in _describe(strength_TSS)]
    return np.log(np.array(values, np.float64) + _SMALLEST)


def _blurred_grey(image_SS3: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Blur removes noise and compression blocks, whose changes must not count as motion."""
    grey_SS = cv2.GaussianBlur(cv2.cvtColor(image_SS3, cv2.COLOR_RGB2GRAY), (0, 0), 1.0)
    return np.asarray(grey_SS, np.float32) / np.float32(255)


def _length(vectors_TSS2: NDArray[np.float32]) -> NDArray[np.float32]:
    length_TSS: NDArray[np.float32] = np.hypot(vectors_TSS2[..., 0], vectors_TSS2[..., 1])
    return length_TSS


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
    """The probability that each of these clips is positive, learnt from the others."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    model.fit(learnt_NF, positive_N)
    scores_N: Floats = model.predict_proba(asked_NF)[:, 1]
    return scores_N
