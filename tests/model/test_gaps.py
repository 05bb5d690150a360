"""A gap is a pause of more than two seconds, and longer than the pauses that the source always makes."""

import numpy as np
import pytest

from model.gaps import frames_after_gaps


@pytest.mark.parametrize(("pause_s", "is_gap"), [(0.5, False), (2.0, False), (2.1, True), (300.0, True)])
def test_a_long_pause_is_a_gap(pause_s: float, is_gap: bool) -> None:
    pts_s_T = np.array([0.0, 0.1, 0.2, 0.2 + pause_s, 0.3 + pause_s])
    assert frames_after_gaps(pts_s_T).tolist() == [False, False, False, is_gap, False]


def test_the_pauses_of_a_time_lapse_are_not_gaps() -> None:
    assert not frames_after_gaps(np.arange(0.0, 3600.0, 60.0)).any()


def test_a_pause_that_is_long_for_a_time_lapse_is_a_gap() -> None:
    pts_s_T = np.array([0.0, 60.0, 120.0, 220.0, 280.0])
    assert frames_after_gaps(pts_s_T).tolist() == [False, False, False, True, False]


def test_one_frame_has_no_gap() -> None:
    assert frames_after_gaps(np.array([5.0])).tolist() == [False]
