"""The metrics equal other implementations on random data with ties, borders and gaps: scikit-learn's, or loops that
follow the definitions word by word.
"""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score

from model import metrics

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def assert_exact(found: ArrayLike, expected: ArrayLike) -> None:
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(expected, float), rtol=0, atol=1e-12)


def random_scores(rng: np.random.Generator, frames: int) -> Floats:
    """Of few distinct values, or all different."""
    levels = int(rng.choice([2, 5, 10, 1_000_000]))
    scores: Floats = np.round(rng.random(frames) * levels) / levels
    return scores


def random_runs(rng: np.random.Generator, frames: int) -> Bools:
    """A few stretches, some of which touch or overlap."""
    marked = np.zeros(frames, bool)
    for _ in range(int(rng.integers(0, 8))):
        begin = int(rng.integers(frames))
        marked[begin : begin + int(rng.integers(1, 60))] = True
    return marked


def calibrated(scores: Sequence[float], positives: Sequence[bool]) -> float:
    """De Geest et al. 2016, a positive among frames of equal score at their middle."""
    hits = sum(positives)
    misses = len(positives) - hits
    if not hits:
        return float("nan")
    if not misses:
        return 1.0
    total = 0.0
    for score, positive in zip(scores, positives, strict=True):
        if positive:
            above = [is_hit for other, is_hit in zip(scores, positives, strict=True) if other > score]
            level = [is_hit for other, is_hit in zip(scores, positives, strict=True) if other == score]
            tp = sum(above) + (sum(level) + 1) / 2
            fp = len(above) - sum(above) + (len(level) - sum(level)) / 2
            total += tp / (tp + fp * hits / misses)
    return total / hits


@pytest.mark.parametrize("seed", range(30))
def test_average_precision_equals_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = int(rng.integers(1, 400))
    scores, positives = random_scores(rng, frames), rng.random(frames) < rng.choice([0.02, 0.3, 0.9, 1])
    ambiguous = rng.random(frames) < 0.2
    expected = [
        average_precision_score(marked, scored) if marked.any() else np.nan
        for scored, marked in ((scores, positives), (scores[~ambiguous], positives[~ambiguous]))
    ]
    found = [
        metrics.average_precision(scores, positives),
        metrics.frame_average_precision(scores[:, None], positives[:, None], ambiguous)[0],
    ]
    assert_exact(found, expected)


@pytest.mark.parametrize("seed", range(30))
def test_calibrated_average_precision_equals_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = int(rng.integers(1, 120))
    scores, positives = random_scores(rng, frames), rng.random(frames) < rng.choice([0, 0.02, 0.3, 0.9, 1])
    found = metrics.calibrated_average_precision(scores, positives)
    assert_exact(found, calibrated(scores.tolist(), positives.tolist()))


@pytest.mark.parametrize("seed", range(8))
def test_stages_equal_their_definition_where_streams_meet(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = int(rng.integers(20, 160))
    scores, positives, first = random_scores(rng, frames), random_runs(rng, frames), np.zeros(frames, bool)
    first[[0, frames // 2]] = True
    found = metrics.stage_calibrated_average_precision(scores[:, None], positives[:, None], first_T=first)[:, 0]
    expected = []
    for stage in range(10):
        kept, begin = ~positives, 0
        while begin < frames:
            end = begin + 1
            while positives[begin] and end < frames and positives[end] and not first[end]:
                end += 1
            if positives[begin]:
                low = begin + int((end - 1 - begin) * (stage / 10))
                high = begin + int((end - 1 - begin) * ((stage + 1) / 10))
                kept[low : max(low + 1, high)] = True
            begin = end
        expected.append(calibrated(scores[kept].tolist(), positives[kept].tolist()))
    assert_exact(found, expected)


@pytest.mark.parametrize("seed", range(60))
def test_start_average_precision_equals_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    predicted, true = (np.round(rng.random(int(rng.integers(0, most))) * 60, 1) for most in (30, 12))
    scores = np.round(rng.random(len(predicted)), 1)
    for within_s in (0.5, 1.0, 4.0, 10.0):
        free, hits = sorted(true.tolist()), []
        for _, time_s in sorted((-score, time_s) for score, time_s in zip(scores, predicted, strict=True)):
            near = [each for each in free if abs(each - time_s) <= within_s + 1e-6]
            hits.append(bool(near))
            if near:
                free.remove(min(near, key=lambda each: (round(abs(each - time_s), 5), each)))
        precision = [sum(hits[: rank + 1]) / (rank + 1) for rank in range(len(hits)) if hits[rank]]
        expected = sum(precision) / len(true) if len(true) else np.nan
        found = metrics.start_average_precision(predicted, scores, true, within_s)
        assert_exact(found, expected)


@pytest.mark.parametrize("seed", range(20))
def test_announced_starts_are_matched_as_defined(seed: int) -> None:
    rng = np.random.default_rng(seed)
    starts, true = (np.sort(np.round(rng.random(int(rng.integers(0, most))) * 60, 1)) for most in (20, 8))
    ends, decided = true + np.round(rng.random(len(true)) * 9, 1), starts + 0.3
    ambiguous = np.array([[20.0, 30.0]])
    claimed: set[int] = set()
    correct, delays = [], []
    for start_s, decided_s in zip(starts, decided, strict=True):
        able = [
            m
            for m, (begin_s, end_s) in enumerate(zip(true, ends, strict=True))
            if m not in claimed and begin_s - 1 <= start_s <= max(begin_s + 4, end_s)
        ]
        correct.append(bool(able))
        if able:
            claimed.add(able[0])
            delays.append(decided_s - true[able[0]])
    found = metrics.match_announcements(starts, decided, true, ends, ambiguous_s=ambiguous)
    assert found.correct.tolist() == correct
    assert_exact(found.delays_s, delays)
    inside = [20 <= start_s < 30 for start_s in starts]
    assert found.false.tolist() == [not hit and not within for hit, within in zip(correct, inside, strict=True)]
