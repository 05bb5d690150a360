"""The field's metrics for frame scores, action starts and clips. NumPy only.

Frames: average precision as in the THUMOS'14 protocol, calibrated average precision as in TVSeries (De Geest et al.
2016), and the same by tenths of an action's duration. Starts: point-level average precision (Shou et al. 2018).
Clips: top-1 and top-5 accuracy as on Kinetics. A class without a positive has no average precision: NaN, and
`mean_over_classes` leaves it out.

Shapes: T frames, K classes, N clips or predicted starts, M true starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.video.media_time import SAME_TIME_S

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]


def average_precision(scores_T: Floats, positives_T: Bools) -> float:
    """Area under the precision-recall curve, without interpolation. Frames of equal score count together."""
    hits, misses = _by_distinct_score(scores_T, positives_T)
    if not hits.sum():
        return float("nan")
    hits_so_far = hits.cumsum()
    return float((hits * hits_so_far / (hits_so_far + misses.cumsum())).sum() / hits.sum())


def calibrated_average_precision(scores_T: Floats, positives_T: Bools) -> float:
    """Average precision with the negatives weighed down to the positives' number.

    Precision is tp / (tp + fp / w), with w = negatives / positives. A positive among frames of equal score counts at
    their middle, its expected rank; in the published code an unstable sort decides, so the fifth decimal depends on the
    processor.
    """
    hits, misses = _by_distinct_score(scores_T, positives_T)
    if not hits.sum():
        return float("nan")
    if not misses.sum():
        return 1.0
    hits_before = hits.cumsum() - (hits - 1) / 2
    misses_before = misses.cumsum() - misses / 2
    weight = misses.sum() / hits.sum()
    return float((hits * hits_before / (hits_before + misses_before / weight)).sum() / hits.sum())


def _by_distinct_score(scores_T: Floats, positives_T: Bools) -> tuple[Floats, Floats]:
    """The numbers of positives and of negatives for each distinct score, in descending order of score.

    Raises:
        ValueError: a score is not finite. NaN would count as another score and give a plausible result.
    """
    if not np.isfinite(scores_T).all():
        raise ValueError("scores must be finite numbers")
    distinct, group_T = np.unique(-scores_T, return_inverse=True)
    hits = np.bincount(group_T[positives_T], minlength=len(distinct)).astype(np.float64)
    return hits, np.bincount(group_T, minlength=len(distinct)) - hits


def frame_average_precision(scores_TK: Floats, targets_TK: Bools, ambiguous_T: Bools | None = None) -> Floats:
    """Average precision of each class (K,). Frames marked ambiguous are left out, as in the THUMOS'14 protocol."""
    if ambiguous_T is not None:
        scores_TK, targets_TK = scores_TK[~ambiguous_T], targets_TK[~ambiguous_T]
    return np.array([average_precision(s, t) for s, t in zip(scores_TK.T, targets_TK.T, strict=True)])


def count_cliff_diving_as_diving(scores_TK: Floats, labels: Sequence[str]) -> Floats:
    """Scores in which diving has the higher score of the two, because THUMOS'14 also annotates every cliff diving as
    diving.

    An option of the published protocol (Shou et al. 2017), off by default there. ValueError when a label is missing.
    """
    try:
        cliff_diving, diving = labels.index("CliffDiving"), labels.index("Diving")
    except ValueError as error:
        raise ValueError("cliff diving can only count as diving with the labels 'CliffDiving' and 'Diving'") from error
    counted_TK = scores_TK.copy()
    counted_TK[:, diving] = scores_TK[:, [cliff_diving, diving]].max(axis=1)
    return counted_TK


def frame_calibrated_average_precision(scores_TK: Floats, targets_TK: Bools) -> Floats:
    """Calibrated average precision of each class (K,), over all frames, as in TVSeries."""
    return np.array([calibrated_average_precision(s, t) for s, t in zip(scores_TK.T, targets_TK.T, strict=True)])


def stage_calibrated_average_precision(
    scores_TK: Floats, targets_TK: Bools, stages: int = 10, first_T: Bools | None = None
) -> Floats:
    """Calibrated average precision by stage of the action (stages, K).

    Stage i of a class compares all frames without the class with only the i-th part of each of its actions. An action
    is a maximal run of frames; it ends where another stream begins, at the frames marked in `first_T`.
    """
    result = np.full((stages, scores_TK.shape[1]), np.nan)
    for k, (scores_T, targets_T) in enumerate(zip(scores_TK.T, targets_TK.T, strict=True)):
        firsts, lasts = runs(targets_T, first_T)
        for stage in range(stages):
            # The published rule: lengths are last - first, and parts are rounded down to at least one frame.
            begins = firsts + ((lasts - firsts) * (stage / stages)).astype(int)
            ends = np.maximum(begins + 1, firsts + ((lasts - firsts) * ((stage + 1) / stages)).astype(int))
            kept_T = ~targets_T
            for begin, end in zip(begins, ends, strict=True):
                kept_T[begin:end] = True
            result[stage, k] = calibrated_average_precision(scores_T[kept_T], targets_T[kept_T])
    return result


def runs(targets_T: Bools, first_T: Bools | None = None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and last frame of each maximal run; a run does not continue into a frame marked in `first_T`."""
    cut_T = np.zeros(len(targets_T) + 1, bool) if first_T is None else np.append(first_T, True)
    padded_T = np.concatenate([[False], targets_T, [False]])
    starts = targets_T & (~padded_T[:-2] | cut_T[:-1])
    ends = targets_T & (~padded_T[2:] | cut_T[1:])
    return np.flatnonzero(starts), np.flatnonzero(ends)


def start_average_precision(
    starts_s: Floats, scores: Floats, true_starts_s: Floats, within_s: float, ambiguous_s: Floats | None = None
) -> float:
    """Point-level average precision of one class's starts.

    In descending order of score (equal scores: the earlier first), a predicted start is a hit if an unmatched true
    start lies within `within_s` (inclusive); it takes the nearest. All others are misses, including a second start for
    the same action. The result is the sum of the precision at each hit over the number of true starts, not
    interpolated.

    Args:
        starts_s: predicted times (N,), seconds. To join streams, shift each by more than its predecessors' length.
        scores: their scores (N,).
        true_starts_s: times of the true starts (M,).
        ambiguous_s: start and end (A, 2) of stretches in which a miss does not count.

    Raises:
        ValueError: a score is not finite.
    """
    _, hits = rank_starts(starts_s, scores, true_starts_s, within_s, ambiguous_s)
    if not len(true_starts_s):
        return float("nan")
    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    return float(precision[hits].sum() / len(true_starts_s))


def rank_starts(
    starts_s: Floats, scores: Floats, true_starts_s: Floats, within_s: float, ambiguous_s: Floats | None = None
) -> tuple[NDArray[np.intp], Bools]:
    """The order in which `start_average_precision` ranks predicted starts, without those that do not count, and which
    of them are hits. Arguments and errors are the same.
    """
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite numbers")
    order = np.lexsort((starts_s, -scores))
    hits = _match_in_order(starts_s[order], np.sort(true_starts_s), within_s)
    if ambiguous_s is not None:
        counted = hits | ~_inside_any(starts_s[order], ambiguous_s)
        order, hits = order[counted], hits[counted]
    return order, hits


def _inside_any(times_s: Floats, stretches_s: Floats) -> Bools:
    """Which times lie in one of the stretches (A, 2)."""
    starts_s, ends_s = stretches_s.T
    inside: Bools = ((starts_s - SAME_TIME_S <= times_s[:, None]) & (times_s[:, None] < ends_s - SAME_TIME_S)).any(
        axis=1
    )
    return inside


def _match_in_order(starts_s: Floats, true_starts_s: Floats, within_s: float) -> Bools:
    """Which of `starts_s`, taken in order, find an unmatched start among the sorted `true_starts_s`."""
    lows = np.searchsorted(true_starts_s, starts_s - within_s - SAME_TIME_S, side="left")
    highs = np.searchsorted(true_starts_s, starts_s + within_s + SAME_TIME_S, side="right")
    free = np.ones(len(true_starts_s), bool)
    hits = np.zeros(len(starts_s), bool)
    for i in np.flatnonzero(highs > lows):
        near = lows[i] + np.flatnonzero(free[lows[i] : highs[i]])
        if len(near):
            distance_s = np.abs(true_starts_s[near] - starts_s[i])
            # Halfway between two, the earlier one, so that rounding, which depends on where the stream begins, does not
            # decide.
            free[near[np.flatnonzero(distance_s <= distance_s.min() + SAME_TIME_S)[0]]] = False
            hits[i] = True
    return hits


def top_k_hits(scores_NK: Floats, target_N: NDArray[np.integer], k: int) -> Bools:
    """Whether each clip's class (N,) is among the `k` with the highest scores. Ranked behind equal scores, so that a
    model with constant scores is never right.
    """
    own_N1 = np.take_along_axis(scores_NK, target_N[:, None], axis=1)
    return np.asarray((scores_NK >= own_N1).sum(axis=1) <= k)


def mean_over_classes(values_K: Floats) -> float:
    """The mean of the classes that have a value; NaN when none has."""
    known = values_K[~np.isnan(values_K)]
    return float(known.mean()) if len(known) else float("nan")


@dataclass(frozen=True)
class Announcements:
    """The decided starts of one label compared with the true ones."""

    delays_s: Floats
    """Decided time minus true start, for each correct start."""
    correct: Bools
    """For each announced start, in the order given."""
    false: Bools
    """Neither correct nor in an ambiguous stretch."""


def match_announcements(
    starts_s: Floats,
    decided_s: Floats,
    true_starts_s: Floats,
    true_ends_s: Floats,
    early_s: float = 1,
    late_s: float = 4,
    ambiguous_s: Floats | None = None,
) -> Announcements:
    """Separates the correct starts of one label in one stream from the false ones.

    A start is correct when it lies between `early_s` before and `late_s` after the start of an action that no earlier
    start has claimed, or inside such an action; it claims the earliest. A second start for an action is false. A start
    that is not correct but lies in an ambiguous stretch (A, 2) is not false either. Times are in seconds; `starts_s`
    and `decided_s` (N,) increase; true starts and ends are (M,).
    """
    order = np.argsort(true_starts_s, kind="stable")
    opens_s, closes_s = true_starts_s - early_s, np.maximum(true_starts_s + late_s, true_ends_s)
    within_NM = (opens_s <= starts_s[:, None]) & (starts_s[:, None] <= closes_s)
    free = np.ones(len(order), bool)
    correct = np.zeros(len(starts_s), bool)
    delays_s = []
    for i in np.flatnonzero(within_NM.any(axis=1)):
        claims = order[(within_NM[i] & free)[order]]
        if len(claims):
            free[claims[0]] = False
            correct[i] = True
            delays_s.append(decided_s[i] - true_starts_s[claims[0]])
    false = ~correct if ambiguous_s is None else ~correct & ~_inside_any(starts_s, ambiguous_s)
    return Announcements(np.array(delays_s, np.float64), correct, false)
