"""Estimates how good a classifier from a few clips is, from scores of clips that it was not trained on, and when it
reports a start.

Shapes: N clips, T frames, R rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import sqrt

import numpy as np
from sklearn.metrics import roc_auc_score

from model.config import StartRule
from model.metrics import Bools, Floats
from model.thresholds import decide_starts, find_runs

_Z = 1.959964  # of a 95 % interval
_ENTERS = tuple(percent / 100 for percent in range(30, 96, 5))
_LEAVE_RATIO = 0.6
_MIN_DURATIONS_S = (0.0, 0.2, 0.4)
_REFRACTORY_S = 1.0
_BISECTIONS = 40


@dataclass(frozen=True)
class Share:
    """A count out of a total, with the 95 % interval of Wilson (1927)."""

    count: int
    of: int
    low: float
    high: float

    @classmethod
    def of_counts(cls, count: int, of: int) -> Share:
        """`of` must be positive."""
        middle, spread = count / of + _Z**2 / (2 * of), _Z * sqrt(count * (of - count) / of**3 + (_Z / of) ** 2 / 4)
        scale = 1 + _Z**2 / of
        low, high = (middle - spread) / scale, (middle + spread) / scale
        # Rounding must not put the share itself outside the interval.
        return cls(count, of, min(max(0.0, low), count / of), max(min(1.0, high), count / of))

    def __str__(self) -> str:
        return f"{self.count} of {self.of} ({100 * self.low:.0f} to {100 * self.high:.0f} %)"


@dataclass(frozen=True)
class Expected:
    """Expected results on clips like these, estimated from clips that were left out in turn."""

    auc: float
    """For a clip's highest score: the probability that it is higher in a clip of the action than in another clip."""
    auc_low: float
    auc_high: float
    found: Share
    """Clips of the action in which a start is reported."""
    alarms: Share
    """Other clips in which a start is reported."""
    correct: Share


def estimate(scores: Sequence[Floats], positive_N: Bools, sample_hz: float) -> tuple[Expected, StartRule]:
    """The expected results, and the start rule that separates both kinds best.

    Each clip is judged by the rule chosen on the other clips; a rule chosen with it would make the estimate too good.

    Args:
        scores: of each clip's frames (T,), by a classifier that has not learned from it.
    """
    rules = [
        StartRule(enter, round(_LEAVE_RATIO * enter, 4), min_duration_s, _REFRACTORY_S)
        for min_duration_s, enter in product(_MIN_DURATIONS_S, _ENTERS)
    ]
    fires_RN = np.array([[reports_start(scores_T, rule, sample_hz) for scores_T in scores] for rule in rules])
    everyone_N = np.arange(len(scores))
    fired_N = np.array([fires_RN[_best_rule(fires_RN, positive_N, everyone_N != clip), clip] for clip in everyone_N])
    peak_N = np.array([scores_T.max() for scores_T in scores])
    auc = float(roc_auc_score(positive_N, peak_N))
    low, high = auc_interval(auc, int(positive_N.sum()), int((~positive_N).sum()))
    expected = Expected(
        auc,
        low,
        high,
        found=Share.of_counts(int(fired_N[positive_N].sum()), int(positive_N.sum())),
        alarms=Share.of_counts(int(fired_N[~positive_N].sum()), int((~positive_N).sum())),
        correct=Share.of_counts(int((fired_N == positive_N).sum()), len(scores)),
    )
    return expected, rules[_best_rule(fires_RN, positive_N, np.ones(len(scores), bool))]


def reports_start(scores_T: Floats, rule: StartRule, sample_hz: float) -> bool:
    """Whether `StartDecoder` reports a start in a stream of these scores."""
    ended_T = np.append(np.asarray(scores_T, np.float64), -1.0)
    runs = find_runs(ended_T, rule.enter, rule.leave)
    pts_s_T = np.arange(len(ended_T)) / sample_hz
    return len(decide_starts(pts_s_T, ended_T, runs, rule.min_duration_s, rule.refractory_s).start_s) > 0


def _best_rule(fires_RN: Bools, positive_N: Bools, counted_N: Bools) -> int:
    """The rule with the best balance of found clips and alarms, counted with its neighbours; of equal ones, a middle
    one: a threshold at the edge of what separates a few clips would miss the next one.
    """
    found_R = fires_RN[:, counted_N & positive_N].mean(axis=1)
    alarms_R = fires_RN[:, counted_N & ~positive_N].mean(axis=1)
    value_DE = (found_R - alarms_R).reshape(len(_MIN_DURATIONS_S), len(_ENTERS))
    padded = np.pad(value_DE, ((0, 0), (1, 1)), mode="edge")
    smooth_R = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]).ravel()
    best = np.flatnonzero(smooth_R >= smooth_R.max() - 1e-9)
    return int(best[len(best) // 2])


def auc_interval(auc: float, positives: int, negatives: int) -> tuple[float, float]:
    """The 95 % interval of an area under the ROC curve: all areas from which the measured one is not far, given their
    own variance (Newcombe, Statistics in Medicine 25, 2006, method 5). Not empty when the separation is perfect.
    """

    def is_near(area: float) -> bool:
        half = (positives + negatives) / 2 - 1
        factor = 1 + half * (1 - area) / (2 - area) + half * area / (1 + area)
        return (auc - area) ** 2 <= _Z**2 * area * (1 - area) * factor / (positives * negatives)

    def edge(far: float) -> float:
        near = auc
        for _ in range(_BISECTIONS):
            middle = (near + far) / 2
            near, far = (middle, far) if is_near(middle) else (near, middle)
        return near

    return edge(0.0), edge(1.0)
