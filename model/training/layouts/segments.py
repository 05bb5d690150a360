"""Labelled segments of a stream, and which of its frames they cover.

Shapes: T frames, K labels (0 is the background).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.config import BACKGROUND
from model.video.media_time import SAME_TIME_S

Segment = tuple[float, float, str]
"""An action's start and end in seconds, and its label."""

AMBIGUOUS = "ambiguous"
"""The label of segments that are ignored in training and evaluation, as in THUMOS'14."""


@dataclass(frozen=True)
class FrameLabels:
    """The labels of each frame of a stream."""

    target_TK: NDArray[np.float32]
    """0 or 1 for each label; column 0, the background, is 1 where no action is and the frame is not ambiguous. A frame
    may have several actions."""
    ambiguous_T: NDArray[np.bool_]
    """Frames that are ignored."""
    since_start_s_T: NDArray[np.float32]
    """See `since_start_s`."""

    def part(self, frames: slice) -> FrameLabels:
        """The labels of some of the frames."""
        return FrameLabels(self.target_TK[frames], self.ambiguous_T[frames], self.since_start_s_T[frames])


def label_frames(segments: Iterable[Segment], labels: Sequence[str], pts_s_T: NDArray[np.floating]) -> FrameLabels:
    """The labels at each time. Overlapping actions all count.

    Raises:
        ValueError: a segment has a label that is not in `labels`.
    """
    target_TK = np.zeros((len(pts_s_T), len(labels)), np.float32)
    ambiguous_T = np.zeros(len(pts_s_T), bool)
    for start_s, end_s, label in segments:
        covered_T = covered_frames(pts_s_T, start_s, end_s)
        if label == AMBIGUOUS:
            ambiguous_T |= covered_T
        elif label != BACKGROUND:
            target_TK[covered_T, labels.index(label)] = 1
    return frame_labels(target_TK, ambiguous_T, pts_s_T)


def frame_labels(
    target_TK: NDArray[np.float32], ambiguous_T: NDArray[np.bool_], pts_s_T: NDArray[np.floating]
) -> FrameLabels:
    """Labels of frames whose actions are known. The background's column is derived from them."""
    target_TK = target_TK.copy()
    target_TK[:, 0] = ~target_TK[:, 1:].any(axis=1) & ~ambiguous_T
    return FrameLabels(target_TK, ambiguous_T, since_start_s(target_TK, pts_s_T))


def covered_frames(pts_s_T: NDArray[np.floating], start_s: float, end_s: float) -> NDArray[np.bool_]:
    """Which times lie in the segment: start <= time < end."""
    covered_T: NDArray[np.bool_] = (pts_s_T >= start_s - SAME_TIME_S) & (pts_s_T < end_s - SAME_TIME_S)
    return covered_T


def since_start_s(target_TK: NDArray[np.floating], pts_s_T: NDArray[np.floating]) -> NDArray[np.float32]:
    """Seconds since the last action to start began (T,); infinity where no action is."""
    acts_TA = target_TK[:, 1:] > 0
    before_TA = np.vstack([np.zeros_like(acts_TA[:1]), acts_TA[:-1]])
    begins_T = (acts_TA & ~before_TA).any(axis=1)
    began_s_T = np.maximum.accumulate(np.where(begins_T, pts_s_T, -np.inf))
    return np.where(acts_TA.any(axis=1), pts_s_T - began_s_T, np.inf).astype(np.float32)


def last_started(
    segments: Iterable[Segment], labels: Sequence[str], pts_s_T: NDArray[np.floating]
) -> NDArray[np.int64]:
    """One index into `labels` at each time (T,), for figures that show one label per frame: of several actions the one
    that started last, and 0 where there is none. Labels that are not in `labels` are ignored.
    """
    target_T = np.zeros(len(pts_s_T), np.int64)
    for start_s, end_s, label in sorted(segments):
        if label in labels[1:]:
            target_T[covered_frames(pts_s_T, start_s, end_s)] = labels.index(label)
    return target_T
