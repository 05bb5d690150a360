"""Measures how far scores have moved from those at calibration: histograms, and their population stability index.

The index of two histograms with the shares e and a in each bin is the sum of (a - e) ln(a / e). It is 0 for equal
histograms and grows with every difference. By a convention of credit scoring, where it comes from, less than 0.1 is no
change and more than 0.25 a large one.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence

SCORE_EDGES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0)
"""Upper bounds of the bins, inclusive. Bins are narrow near 0, where nearly all scores are."""
BINS = len(SCORE_EDGES)
WINDOW_FRAMES = 36_000
"""The number of newest frames that are compared; at least half of it is needed. At 10 Hz, they last an hour."""
COMPARE_EVERY_FRAMES = 500
_PSEUDO_COUNT = 0.5
"""Added to every bin, since an empty bin would make the index infinite."""


def bin_of(score: float) -> int:
    """The bin of a score in [0, 1]."""
    return min(bisect_left(SCORE_EDGES, score), BINS - 1)


def histogram_of(scores: Iterable[float]) -> tuple[int, ...]:
    """How many scores are in each bin."""
    counts = [0] * BINS
    for score in scores:
        counts[bin_of(score)] += 1
    return tuple(counts)


def stability_index(expected: Sequence[int], found: Sequence[int]) -> float:
    """The population stability index of two histograms, at least 0."""
    expected_sum, found_sum = (sum(counts) + BINS * _PSEUDO_COUNT for counts in (expected, found))
    index = 0.0
    for expected_count, found_count in zip(expected, found, strict=True):
        e, a = (expected_count + _PSEUDO_COUNT) / expected_sum, (found_count + _PSEUDO_COUNT) / found_sum
        index += (a - e) * math.log(a / e)
    return index


class DriftWindow:
    """The newest scores of one label, compared with those at calibration."""

    def __init__(self, expected: Sequence[int]) -> None:
        self._expected = tuple(expected)
        self._older, self._newer = [0] * BINS, [0] * BINS
        self._newer_frames = self._since_compared = 0
        self._is_full = False

    def add(self, score: float) -> float | None:
        """Take the next score. Returns the index now and then, once there are scores for half a window."""
        self._newer[bin_of(score)] += 1
        self._newer_frames += 1
        self._since_compared += 1
        if self._newer_frames == WINDOW_FRAMES // 2:
            self._older, self._newer, self._newer_frames, self._is_full = self._newer, [0] * BINS, 0, True
        if not self._is_full or self._since_compared < COMPARE_EVERY_FRAMES:
            return None
        self._since_compared = 0
        found = [older + newer for older, newer in zip(self._older, self._newer, strict=True)]
        return stability_index(self._expected, found)
