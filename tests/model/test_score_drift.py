"""The population stability index, and the window over which it is taken."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.score_drift import (
    BINS,
    COMPARE_EVERY_FRAMES,
    SCORE_EDGES,
    WINDOW_FRAMES,
    DriftWindow,
    bin_of,
    histogram_of,
    stability_index,
)

COUNTS = st.lists(st.integers(0, 10**6), min_size=BINS, max_size=BINS)


def test_a_bin_includes_its_upper_bound() -> None:
    assert [bin_of(edge) for edge in SCORE_EDGES] == list(range(BINS))
    assert [bin_of(score) for score in (0.0, 0.021, 1.0, 1.1)] == [0, 1, BINS - 1, BINS - 1]
    assert histogram_of([0.0, 0.01, 0.3, 1.0]) == (2, 0, 0, 0, 1, 0, 0, 0, 0, 1)


@given(COUNTS, COUNTS)
def test_the_index_is_0_only_for_equal_shares_and_the_same_in_both_directions(one: list[int], other: list[int]) -> None:
    assert stability_index(one, one) == 0.0
    assert stability_index(one, other) >= 0.0
    assert stability_index(one, other) == pytest.approx(stability_index(other, one))


def test_the_index_of_a_textbook_case() -> None:
    expected, found = [6000, 4000, *[0] * (BINS - 2)], [4000, 6000, *[0] * (BINS - 2)]
    assert stability_index(expected, found) == pytest.approx(0.4 * math.log(1.5), rel=1e-3)


def test_a_window_says_nothing_before_it_is_half_full_and_then_follows_the_newest_scores() -> None:
    window = DriftWindow(histogram_of([0.01] * 900 + [0.3] * 100))
    usual = [0.3 if frame % 10 == 0 else 0.01 for frame in range(WINDOW_FRAMES)]
    said = [window.add(score) for score in usual]
    assert said[: WINDOW_FRAMES // 2 - 1] == [None] * (WINDOW_FRAMES // 2 - 1)
    later = [index for index in said if index is not None]
    assert len(later) > WINDOW_FRAMES // 2 // COMPARE_EVERY_FRAMES - 2
    assert max(later) < 0.05
    drifted = [index for _ in range(2 * WINDOW_FRAMES) if (index := window.add(0.3)) is not None]
    assert drifted[0] < 0.25 < drifted[-1]
