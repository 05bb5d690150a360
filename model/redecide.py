"""What other start rules would have decided on stored scores: starts, ends and near misses.

Pure, like `model.thresholds`, which makes the decisions.

Shapes: T frames, K labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.config import StartRule
from model.thresholds import ActionEnd, ActionStart, StartDecoder
from model.video.media_time import SAME_TIME_S

NEAR = 0.5
"""A run is a near miss if it reaches this share of `enter`."""
_ROUNDED_S = 0.001
"""Gaps are known to the millisecond."""


@dataclass(frozen=True)
class NearMiss:
    """A run of scores of at least half of `enter`, from `start_s` to `end_s`, without a start.

    A run that ends at most `refractory_s` before a start belongs to that start: scores often rise in steps.

    `below_enter`: the peak did not reach `enter`. `refractory`: it did, but too soon after the last end. `too_short`:
    it did, but for less than the minimum duration.
    """

    label: str
    peak: float
    peak_s: float
    start_s: float
    end_s: float
    reason: Literal["below_enter", "too_short", "refractory"]


@dataclass(frozen=True)
class Redecision:
    """What some rules decide on some scores, in chronological order."""

    starts: list[ActionStart]
    ends: list[ActionEnd]
    near_misses: list[NearMiss]


def redecide(
    labels: Sequence[str],
    rules: Mapping[str, StartRule],
    pts_s_T: NDArray[np.floating],
    scores_TK: NDArray[np.floating],
    *,
    gaps_s: Sequence[float] = (),
    is_over: bool = False,
) -> Redecision:
    """Decide again, frame by frame, like a `StartDecoder` that begins with the first frame.

    Args:
        labels: names of the columns of the scores.
        rules: the labels to report, each with its rule.
        pts_s_T: media times of the frames, in seconds, increasing.
        scores_TK: in [0, 1].
        gaps_s: media times of the first frames after a gap, to the millisecond, in order.
        is_over: whether the stream ended with the last frame.

    Raises:
        ValueError: as `StartDecoder` and its `push`.
    """
    decoder, decided = StartDecoder(labels, rules), list[ActionStart | ActionEnd]()
    waiting = sorted(gaps_s, reverse=True)
    for pts_s, scores_K in zip(pts_s_T.tolist(), scores_TK.tolist(), strict=True):
        while waiting and waiting[-1] <= pts_s + _ROUNDED_S:
            waiting.pop()
            decided += decoder.gap(pts_s)
        decided += decoder.push(pts_s, scores_K)
    if is_over and len(pts_s_T):
        decided += decoder.finish(float(pts_s_T[-1]))
    starts = [action for action in decided if isinstance(action, ActionStart)]
    ends = [action for action in decided if isinstance(action, ActionEnd)]
    near_misses = [
        miss
        for column, label in enumerate(labels)
        if label in rules
        for miss in _near_misses(
            label,
            rules[label],
            pts_s_T,
            scores_TK[:, column],
            [start for start in starts if start.label == label],
            [end for end in ends if end.label == label],
        )
    ]
    return Redecision(starts, ends, sorted(near_misses, key=lambda miss: miss.start_s))


def _near_misses(
    label: str,
    rule: StartRule,
    pts_s_T: NDArray[np.floating],
    scores_T: NDArray[np.floating],
    starts: Sequence[ActionStart],
    ends: Sequence[ActionEnd],
) -> list[NearMiss]:
    is_near = np.concatenate([[False], scores_T >= rule.enter * NEAR, [False]]).astype(np.int8)
    edges = np.diff(is_near)
    ended_s = np.array([end.end_s for end in ends])
    begun_s = np.array([start.start_s for start in starts])
    # A start without an end is still in progress.
    until_s = np.concatenate([ended_s, np.full(len(starts) - len(ends), np.inf)])
    found = []
    for first, stop in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        start_s, end_s = float(pts_s_T[first]), float(pts_s_T[stop - 1])
        if np.any((begun_s <= end_s + rule.refractory_s) & (until_s > start_s)):
            continue
        peak = first + int(np.argmax(scores_T[first:stop]))
        reason = _reason(rule, pts_s_T[first:stop], scores_T[first:stop], ended_s)
        found.append(NearMiss(label, float(scores_T[peak]), float(pts_s_T[peak]), start_s, end_s, reason))
    return found


def _reason(
    rule: StartRule, pts_s_T: NDArray[np.floating], scores_T: NDArray[np.floating], ended_s: NDArray[np.floating]
) -> Literal["below_enter", "too_short", "refractory"]:
    """Why a run had no start."""
    entered = np.flatnonzero(scores_T >= rule.enter)
    if not len(entered):
        return "below_enter"
    entered_s = pts_s_T[entered[0]]
    earlier_s = ended_s[ended_s <= entered_s]
    is_quiet = len(earlier_s) > 0 and entered_s < earlier_s[-1] + rule.refractory_s - SAME_TIME_S
    return "refractory" if is_quiet else "too_short"
