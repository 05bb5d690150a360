"""Scored streams, and one label of all streams on one timeline, on which `model.thresholds` decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.config import BACKGROUND, StartRule
from model.gaps import frames_after_gaps
from model.metrics import Bools, Floats
from model.score_drift import histogram_of
from model.thresholds import DecidedStarts, decide_starts, find_runs
from model.training.layouts.segments import AMBIGUOUS, Segment, covered_frames

_SEPARATION_S = 10_000.0  # more than any tolerance or refractory time
_NO_SCORE = -1.0  # below every threshold
_RIGHT_AFTER_S = 1e-5


@dataclass(frozen=True)
class StreamScores:
    """A model's scores for one annotated stream.

    Args:
        pts_s: media time of each frame (T,), growing, seconds.
        scores: (T, K), in [0, 1].
        segments: the actions that are there.

    Raises:
        ValueError: the stream is empty, shapes differ, a score is not finite, time does not grow, or a segment ends
            before it starts.
    """

    name: str
    pts_s: Floats
    scores: Floats
    segments: Sequence[Segment]

    def __post_init__(self) -> None:
        if not len(self.pts_s) or self.scores.shape[:1] != self.pts_s.shape or self.scores.ndim != 2:
            raise ValueError(f"{self.name}: scores of shape {self.scores.shape} for times of shape {self.pts_s.shape}")
        if not np.isfinite(self.scores).all():
            raise ValueError(f"{self.name}: the model's scores are not finite from {self._first_bad_s():g} s on")
        if (np.diff(self.pts_s) <= 0).any():
            raise ValueError(f"{self.name}: the frames' times do not grow")
        for start_s, end_s, label in self.segments:
            if end_s < start_s:
                raise ValueError(f"{self.name}: {label} at {start_s} s ends before it starts, at {end_s} s")

    def _first_bad_s(self) -> float:
        return float(self.pts_s[~np.isfinite(self.scores).all(axis=1)][0])

    @property
    def duration_s(self) -> float:
        """From the first frame to the end of the last, whose duration is the median distance of frames."""
        frame_s = float(np.median(np.diff(self.pts_s))) if len(self.pts_s) > 1 else 0.0
        return float(self.pts_s[-1] - self.pts_s[0]) + frame_s

    def covered(self, label: str) -> Bools:
        """(T,): a segment of `label` covers the frame, start <= pts < end."""
        covered_T = np.zeros(len(self.pts_s), bool)
        for start_s, end_s, name in self.segments:
            if name == label:
                covered_T |= covered_frames(self.pts_s, start_s, end_s)
        return covered_T


@dataclass(frozen=True)
class LabelScores:
    """One label in all streams, laid end to end far apart, with a frame without a score after each and in each gap.

    The frame in a gap ends an action right after the last frame before the gap, as `StartDecoder.gap` does.
    """

    pts_s: Floats
    scores: Floats
    true_starts_s: Floats
    true_ends_s: Floats
    ambiguous_s: Floats
    """Start and end (A, 2) of the stretches that are ignored."""
    origins_s: Floats
    """A time before each stream and after the previous one."""

    def stream_of(self, times_s: Floats) -> NDArray[np.intp]:
        """Which stream each time belongs to, counted from 0."""
        return np.searchsorted(self.origins_s, times_s) - 1


def join_streams(streams: Sequence[StreamScores], column: int, label: str) -> LabelScores:
    """`label`, whose scores are the given column, in all `streams`."""
    pts_s: list[Floats] = []
    scores: list[Floats] = []
    actions_s: list[tuple[float, float]] = []
    ambiguous_s: list[tuple[float, float]] = []
    origins_s: list[float] = []
    free_s = 0.0
    for stream in streams:
        # Segments may lie outside the frames, and must also stay away from other streams.
        shift_s = free_s - min([float(stream.pts_s[0]), *(start_s for start_s, _, _ in stream.segments)])
        last_s = max([float(stream.pts_s[-1]), *(end_s for _, end_s, _ in stream.segments)]) + shift_s
        after_gap = np.flatnonzero(frames_after_gaps(stream.pts_s))
        in_gaps_s = stream.pts_s[after_gap - 1] + _RIGHT_AFTER_S
        pts_s += [np.insert(stream.pts_s, after_gap, in_gaps_s) + shift_s, np.array([last_s + _SEPARATION_S / 2])]
        scores += [np.insert(stream.scores[:, column], after_gap, _NO_SCORE), np.array([_NO_SCORE])]
        actions_s += [(start_s + shift_s, end_s + shift_s) for start_s, end_s, name in stream.segments if name == label]
        ambiguous_s += [(s + shift_s, e + shift_s) for s, e, name in stream.segments if name == AMBIGUOUS]
        origins_s.append(free_s - _SEPARATION_S / 4)
        free_s = last_s + _SEPARATION_S
    actions_M2 = np.array(sorted(actions_s), np.float64).reshape(-1, 2)
    return LabelScores(
        pts_s=np.concatenate(pts_s),
        scores=np.concatenate(scores, dtype=np.float64),
        true_starts_s=actions_M2[:, 0],
        true_ends_s=actions_M2[:, 1],
        ambiguous_s=np.array(ambiguous_s, np.float64).reshape(-1, 2),
        origins_s=np.array(origins_s),
    )


def scores_without_action(streams: Sequence[StreamScores], labels: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """For each action, the histogram of its scores on the frames of all streams on which it does not happen.

    Ambiguous frames are ignored. An action that happens on all frames has no histogram.
    """
    found: dict[str, tuple[int, ...]] = {}
    for column, label in enumerate(labels):
        without = [stream.scores[~(stream.covered(label) | stream.covered(AMBIGUOUS)), column] for stream in streams]
        scores = np.concatenate(without)
        if label != BACKGROUND and len(scores):
            found[label] = histogram_of(scores.tolist())
    return found


def decode(joined: LabelScores, rule: StartRule) -> DecidedStarts:
    """The starts that a `StartDecoder` with this rule announces."""
    runs = find_runs(joined.scores, rule.enter, rule.leave)
    return decide_starts(joined.pts_s, joined.scores, runs, rule.min_duration_s, rule.refractory_s)
