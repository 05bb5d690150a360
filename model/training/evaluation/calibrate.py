"""Chooses the start decoder's settings on validation streams. NumPy only.

In about twenty minutes of validation streams, an action occurs about twenty times: settings chosen for it alone fit
those occurrences, and on unseen streams they announce several times as many false starts. The choice therefore depends
on all labels together, to the extent that streams held out in turn show a benefit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, product

import numpy as np
from numpy.typing import NDArray

from model.config import BACKGROUND, StartRule
from model.metrics import Floats, match_announcements, mean_over_classes, start_average_precision
from model.thresholds import DecidedStarts, decide_starts, find_runs
from model.training.evaluation.scores import LabelScores, StreamScores, join_streams

FALSE_STARTS_PER_HOUR = 45.0
"""The most that `calibrate` allows on held-out streams, all labels together: less than one per minute, with a
margin.
"""

_LATE_S = 4.0  # a start decided this long after the action began has no value
_PRICES = tuple(0.5 * 2 ** (i / 2) for i in range(11))  # of a false start, in prompt correct ones
_POOLING = (0.0, 0.5, 0.8, 0.9, 0.95, 1.0)
_FOLDS = 5

_RULE_ENTERS = tuple(percent / 100 for percent in range(5, 100, 5))
_STRICT_ENTERS = (*_RULE_ENTERS, 0.97, 0.98, 0.99, 0.995)
_CANDIDATE_ENTERS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
_LEAVE_RATIOS = (0.3, 0.6, 0.9)
_RULE_DURATIONS_S = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_CANDIDATE_DURATIONS_S = (0.0, 0.1, 0.2, 0.3, 0.4)
_REFRACTORIES_S = (0.0, 1.0, 2.0)


@dataclass(frozen=True)
class Calibration:
    """The result that a checkpoint stores."""

    rules: Mapping[str, StartRule]
    """The rules for announced starts: one for every label except the background."""
    candidate_rule: StartRule
    """The rule for the candidates that `start_map` ranks, the same for every label (see `evaluate`)."""


def calibrate(
    streams: Sequence[StreamScores], labels: Sequence[str], max_false_starts_per_hour: float | None = None
) -> Calibration:
    """The settings of `StartDecoder`, chosen on validation streams.

    Rules: a label's rule maximises the value of its correct starts (as `evaluate` counts them) minus a price for each
    false one. A correct start has the value 1 if decided at or before the action's start, falling to 0 at 4 s after it.
    The value is the label's own, mixed with the mean over all labels. Each fifth of the streams is held out in turn:
    the price is the lowest that keeps `FALSE_STARTS_PER_HOUR` there (the highest if none does), and the mixture is the
    one of greatest value there. With `max_false_starts_per_hour`, each label's rule is the one of greatest value among
    those that give the label no more false starts than that; if every rule gives more, the one that gives the fewest.
    Such a limit needs hours of video: in one hour, 0.5 an hour means none.

    Candidates: their rule maximises the mean of the point-level start mAP at 1 s and at 2 s. Waiting longer usually
    ranks better, but a candidate must be decided within 0.5 s, the tightest reported tolerance, of the time that it
    names.

    Raises:
        ValueError: no stream.
    """
    if not streams:
        raise ValueError("no stream to calibrate on")
    actions = {label: join_streams(streams, k, label) for k, label in enumerate(labels) if label != BACKGROUND}
    hours = sum(stream.duration_s for stream in streams) / 3600
    if max_false_starts_per_hour is None:
        rules = _choose_rules(list(actions.values()), min(_FOLDS, len(streams)), FALSE_STARTS_PER_HOUR * hours)
    else:
        rules = [_choose_within(joined, max_false_starts_per_hour * hours) for joined in actions.values()]
    return Calibration(dict(zip(actions, rules, strict=True)), _choose_candidate_rule(list(actions.values())))


def _choose_rules(actions: Sequence[LabelScores], folds: int, false_starts_allowed: float) -> list[StartRule]:
    grid = _grid(_RULE_ENTERS, _RULE_DURATIONS_S)
    gains_KFN, false_starts_KFN = np.stack([_tabulate(joined, grid, folds) for joined in actions], axis=1)
    price, pooling = _price_and_pooling(gains_KFN, false_starts_KFN, false_starts_allowed)
    return [grid[i] for i in _choose((gains_KFN - price * false_starts_KFN).sum(axis=1), pooling)]


def _choose_within(joined: LabelScores, false_starts_allowed: float) -> StartRule:
    """The rule of greatest value within the limit; among equal ones, the one with the fewest false starts."""
    grid = _grid(_STRICT_ENTERS, _RULE_DURATIONS_S)
    gain_N, false_starts_N = (table_FN[0] for table_FN in _tabulate(joined, grid, folds=1))
    allowed_N = false_starts_N <= max(false_starts_allowed, false_starts_N.min())
    return grid[max(np.flatnonzero(allowed_N).tolist(), key=lambda i: (gain_N[i], -false_starts_N[i]))]


def _choose_candidate_rule(actions: Sequence[LabelScores]) -> StartRule:
    grid = _grid(_CANDIDATE_ENTERS, _CANDIDATE_DURATIONS_S)
    precision_KN = [_candidate_precision(joined, grid) for joined in actions if len(joined.true_starts_s)]
    if not precision_KN:
        return StartRule(enter=0.2, leave=0.12, min_duration_s=0.4, refractory_s=1.0)
    return grid[int(np.mean(precision_KN, axis=0).argmax())]


def _grid(enters: Sequence[float], min_durations_s: Sequence[float]) -> list[StartRule]:
    return [
        StartRule(enter, round(enter * ratio, 4), min_duration_s, refractory_s)
        for enter, ratio, min_duration_s, refractory_s in product(
            enters, _LEAVE_RATIOS, min_durations_s, _REFRACTORIES_S
        )
    ]


def _decode_all(joined: LabelScores, grid: Sequence[StartRule]) -> Iterator[DecidedStarts]:
    """The starts that each rule announces; runs are searched for again only when the thresholds change."""
    for (enter, leave), rules in groupby(grid, key=lambda rule: (rule.enter, rule.leave)):
        runs = find_runs(joined.scores, enter, leave)
        for rule in rules:
            yield decide_starts(joined.pts_s, joined.scores, runs, rule.min_duration_s, rule.refractory_s)


def _tabulate(joined: LabelScores, grid: Sequence[StartRule], folds: int) -> Floats:
    """The value of the correct starts, and the number of false ones: (2, folds, rules)."""
    table_2FN = np.zeros((2, folds, len(grid)))
    for i, starts in enumerate(_decode_all(joined, grid)):
        found = match_announcements(
            starts.start_s,
            starts.decided_s,
            joined.true_starts_s,
            joined.true_ends_s,
            ambiguous_s=joined.ambiguous_s,
        )
        worth = 1 - np.clip(found.delays_s / _LATE_S, 0, 1)
        fold = joined.stream_of(starts.start_s) % folds
        table_2FN[0, :, i] = np.bincount(fold[found.correct], worth, minlength=folds)
        table_2FN[1, :, i] = np.bincount(fold[found.false], minlength=folds)
    return table_2FN


def _price_and_pooling(gains_KFN: Floats, false_starts_KFN: Floats, false_starts_allowed: float) -> tuple[float, float]:
    for price in _PRICES:
        value_KFN = gains_KFN - price * false_starts_KFN
        outcomes = []
        for pooling in _POOLING:
            chosen_KF = _choose_without_each_fold(value_KFN, pooling)[:, :, None]
            value, false_starts = (
                float(np.take_along_axis(table, chosen_KF, axis=2).sum()) for table in (value_KFN, false_starts_KFN)
            )
            outcomes.append((value, pooling, false_starts))
        _, pooling, false_starts = max(outcomes)
        if false_starts <= false_starts_allowed:
            break
    return price, pooling


def _choose_without_each_fold(value_KFN: Floats, pooling: float) -> NDArray[np.intp]:
    """(K, F): the rule of each label, chosen on all folds but one; on the fold itself if there is only one."""
    folds = value_KFN.shape[1]
    total_KN = value_KFN.sum(axis=1)
    rest = [total_KN - value_KFN[:, f] if folds > 1 else total_KN for f in range(folds)]
    return np.stack([_choose(value_KN, pooling) for value_KN in rest], axis=1)


def _choose(value_KN: Floats, pooling: float) -> NDArray[np.intp]:
    """(K,): the rule of greatest value for each label; the share `pooling` of the value is the mean over all labels."""
    mixed_KN = (1 - pooling) * value_KN + pooling * value_KN.mean(axis=0)
    return np.asarray(mixed_KN.argmax(axis=1))


def _candidate_precision(joined: LabelScores, grid: Sequence[StartRule]) -> list[float]:
    def precision(starts: DecidedStarts, within_s: float) -> float:
        return start_average_precision(starts.start_s, starts.score, joined.true_starts_s, within_s, joined.ambiguous_s)

    return [
        mean_over_classes(np.array([precision(starts, within_s) for within_s in (1.0, 2.0)]))
        for starts in _decode_all(joined, grid)
    ]
