"""Scored streams, and the decisions of `model.starts` taken over whole arrays, so that settings can be searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.config import StartRule
from model.metrics import Bools, Floats

Segment = tuple[float, float, str]
"""An action's start and end in seconds, and its label."""

_ROUNDING_S = 1e-6
_SEPARATION_S = 10_000.0  # more than any tolerance or refractory time
_NO_SCORE = -1.0  # below every threshold


@dataclass(frozen=True)
class StreamScores:
    """What a model said about one annotated stream.

    Args:
        pts_s: media time of each frame (T,), growing, seconds.
        scores: (T, K), in [0, 1].
        segments: the actions that are there.

    Raises:
        ValueError: the stream is empty, shapes differ, time does not grow or a segment ends before it starts.
    """

    name: str
    pts_s: Floats
    scores: Floats
    segments: Sequence[Segment]

    def __post_init__(self) -> None:
        if not len(self.pts_s) or self.scores.shape[:1] != self.pts_s.shape or self.scores.ndim != 2:
            raise ValueError(f"{self.name}: scores of shape {self.scores.shape} for times of shape {self.pts_s.shape}")
        if (np.diff(self.pts_s) <= 0).any():
            raise ValueError(f"{self.name}: the frames' times do not grow")
        for start_s, end_s, label in self.segments:
            if end_s < start_s:
                raise ValueError(f"{self.name}: {label} at {start_s} s ends before it starts, at {end_s} s")

    @property
    def duration_s(self) -> float:
        """From the first frame to the end of the last, which lasts as long as the frames do in the middle."""
        frame_s = float(np.median(np.diff(self.pts_s))) if len(self.pts_s) > 1 else 0.0
        return float(self.pts_s[-1] - self.pts_s[0]) + frame_s

    def covered(self, label: str) -> Bools:
        """(T,): a segment of `label` covers the frame, start <= pts < end."""
        covered_T = np.zeros(len(self.pts_s), bool)
        for start_s, end_s, name in self.segments:
            if name == label:
                covered_T |= (start_s - _ROUNDING_S <= self.pts_s) & (self.pts_s < end_s - _ROUNDING_S)
        return covered_T


@dataclass(frozen=True)
class LabelScores:
    """One label in all streams, laid end to end far apart, with a frame that belongs to no stream after each."""

    pts_s: Floats
    scores: Floats
    true_starts_s: Floats
    true_ends_s: Floats
    origins_s: Floats
    """A time before each stream and after the one before it."""

    def stream_of(self, times_s: Floats) -> NDArray[np.intp]:
        """Which stream each time belongs to, counted from 0."""
        return np.searchsorted(self.origins_s, times_s) - 1


def join_streams(streams: Sequence[StreamScores], column: int, label: str) -> LabelScores:
    """`label`, whose scores are the given column, in all `streams`."""
    pts_s: list[Floats] = []
    scores: list[Floats] = []
    actions_s: list[tuple[float, float]] = []
    origins_s: list[float] = []
    free_s = 0.0
    for stream in streams:
        shift_s = free_s - float(stream.pts_s[0])
        last_s = float(stream.pts_s[-1]) + shift_s
        pts_s += [stream.pts_s + shift_s, np.array([last_s + _SEPARATION_S / 2])]
        scores += [stream.scores[:, column], np.array([_NO_SCORE])]
        actions_s += [(start_s + shift_s, end_s + shift_s) for start_s, end_s, name in stream.segments if name == label]
        origins_s.append(free_s - _SEPARATION_S / 4)
        free_s = last_s + _SEPARATION_S
    actions_M2 = np.array(sorted(actions_s), np.float64).reshape(-1, 2)
    return LabelScores(
        pts_s=np.concatenate(pts_s),
        scores=np.concatenate(scores, dtype=np.float64),
        true_starts_s=actions_M2[:, 0],
        true_ends_s=actions_M2[:, 1],
        origins_s=np.array(origins_s),
    )


@dataclass(frozen=True)
class Starts:
    """Decided starts of one label (N,), in order of time."""

    start_s: Floats
    decided_s: Floats
    score: Floats
    """The mean from the start to the decision."""


@dataclass(frozen=True)
class Runs:
    """Where scores reach `enter` (first frame) and then fall below `leave` (first frame that does), as indices (N,)."""

    first: NDArray[np.intp]
    fall: NDArray[np.intp]


def find_runs(scores_T: Floats, enter: float, leave: float) -> Runs:
    """The scores must end below `leave`, as `LabelScores` do."""
    decisive = np.where((scores_T >= enter) | (scores_T < leave), np.arange(len(scores_T)), 0)
    high = (scores_T >= enter)[np.maximum.accumulate(decisive)]
    edges = np.diff(high.astype(np.int8), prepend=0)
    return Runs(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1))


def decide(joined: LabelScores, runs: Runs, min_duration_s: float, refractory_s: float) -> Starts:
    """The runs that `StartDecoder` announces, among all runs of one `enter` and `leave`."""
    decided = np.searchsorted(joined.pts_s, joined.pts_s[runs.first] + min_duration_s - _ROUNDING_S)
    lasting = decided < runs.fall
    first, fall, decided = runs.first[lasting], runs.fall[lasting], decided[lasting]
    announced = []
    quiet_until_s = -np.inf
    for i, (start_s, end_s) in enumerate(zip(joined.pts_s[first], joined.pts_s[fall], strict=True)):
        if start_s >= quiet_until_s - _ROUNDING_S:
            announced.append(i)
            quiet_until_s = end_s + refractory_s
    first, decided = first[announced], decided[announced]
    from_start_to_decision = np.column_stack([first, decided + 1]).ravel()
    sums = np.add.reduceat(joined.scores, from_start_to_decision)[::2] if announced else np.zeros(0)
    return Starts(joined.pts_s[first], joined.pts_s[decided], sums / (decided + 1 - first))


def decode(joined: LabelScores, rule: StartRule) -> Starts:
    """What a `StartDecoder` with this rule announces."""
    return decide(joined, find_runs(joined.scores, rule.enter, rule.leave), rule.min_duration_s, rule.refractory_s)
