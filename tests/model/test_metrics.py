from collections.abc import Mapping
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model import metrics
from tests.support.paths import GOLDEN

GOLDEN_FILE = GOLDEN / "metrics.npz"
Arrays = Mapping[str, NDArray[Any]]
ACTIONS = slice(1, 21)  # the THUMOS'14 columns: background, 20 actions, ambiguous
AMBIGUOUS = 21

# The published calibrated AP sorts without fixing the order of equal scores, which moves it by up to 7e-5 here.
TIES = 2e-5


@pytest.fixture(scope="module")
def golden() -> Arrays:
    with np.load(GOLDEN_FILE) as stored:
        values = {key: stored[key] for key in stored}
    values["scores"] = values.pop("scores_e4") / 1e4
    values["targets"] = np.unpackbits(values.pop("targets_bits"), axis=0).astype(bool)
    return values


def test_frame_average_precision_equals_the_reference_under_the_thumos_rules(golden: Arrays) -> None:
    ap = metrics.frame_average_precision(golden["scores"], golden["targets"], golden["targets"][:, AMBIGUOUS])[ACTIONS]
    np.testing.assert_allclose(ap, golden["thumos_ap"], rtol=0, atol=1e-9)
    assert metrics.mean_over_classes(ap) == pytest.approx(golden["thumos_mean_ap"], abs=1e-9)


def test_calibrated_average_precision_equals_the_reference_except_for_ties(golden: Arrays) -> None:
    cap = metrics.frame_calibrated_average_precision(golden["scores"], golden["targets"])[ACTIONS]
    np.testing.assert_allclose(cap, golden["cap"], rtol=0, atol=TIES)
    assert metrics.mean_over_classes(cap) == pytest.approx(golden["mean_cap"], abs=1e-6)


def test_calibrated_average_precision_by_stage_equals_the_reference_but_for_the_order_of_equal_scores(
    golden: Arrays,
) -> None:
    cap = metrics.stage_calibrated_average_precision(golden["scores"][:, ACTIONS], golden["targets"][:, ACTIONS])
    np.testing.assert_allclose(cap.mean(axis=1), golden["stage_mean_cap"], rtol=0, atol=TIES)


def test_average_precision_of_a_ranking_worked_out_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    positives = np.array([True, False, True, False, False])
    assert metrics.average_precision(scores, positives) == pytest.approx((1 / 1 + 2 / 3) / 2)
    # Three negatives for two positives: a false positive weighs 2/3.
    assert metrics.calibrated_average_precision(scores, positives) == pytest.approx((1 + 2 / (2 + 2 / 3)) / 2)


def test_calibration_makes_the_metric_blind_to_how_common_the_background_is() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    positives = np.array([True, False, True, False])
    often = np.concatenate([scores, np.repeat(scores[[1, 3]], 9) - np.tile(np.arange(9), 2) * 1e-6])
    more = np.concatenate([positives, np.zeros(18, bool)])
    assert metrics.calibrated_average_precision(often, more) == pytest.approx(
        metrics.calibrated_average_precision(scores, positives)
    )
    assert metrics.average_precision(often, more) < metrics.average_precision(scores, positives)


def test_a_class_without_positives_has_no_average_precision_and_is_left_out_of_the_mean() -> None:
    scores = np.array([[0.2, 0.3], [0.1, 0.4]])
    targets = np.array([[True, False], [False, False]])
    ap = metrics.frame_average_precision(scores, targets)
    assert np.isnan(ap[1])
    assert metrics.mean_over_classes(ap) == 1.0
    assert np.isnan(metrics.frame_calibrated_average_precision(scores, targets)[1])
    assert np.isnan(metrics.start_average_precision(np.array([1.0]), np.array([0.5]), np.array([]), 1.0))
    assert np.isnan(metrics.mean_over_classes(np.array([np.nan])))


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=60), st.randoms())
def test_frame_metrics_do_not_depend_on_the_order_of_the_frames(frames: list[tuple[int, bool]], random: Random) -> None:
    shuffled = random.sample(frames, len(frames))
    for metric in (metrics.average_precision, metrics.calibrated_average_precision):
        before, after = (metric(np.array([s for s, _ in f]), np.array([p for _, p in f])) for f in (frames, shuffled))
        np.testing.assert_allclose(before, after)


def test_each_stage_sees_only_its_part_of_the_actions() -> None:
    targets = np.zeros((200, 1), bool)
    targets[50:101] = True
    scores = np.random.default_rng(0).uniform(0.1, 0.2, (200, 1))
    scores[70:75] = 1.0  # the fifth tenth of an action whose length counts as 50 frames
    stages = metrics.stage_calibrated_average_precision(scores, targets)[:, 0]
    assert stages[4] == 1.0
    assert np.delete(stages, 4).max() < 0.9


def test_an_action_ends_where_another_stream_begins() -> None:
    targets, first = np.ones((20, 1), bool), np.arange(20) % 10 == 0
    targets[18:] = False
    assert [run.tolist() for run in metrics.runs(targets[:, 0])] == [[0], [17]]
    assert [run.tolist() for run in metrics.runs(targets[:, 0], first)] == [[0, 10], [9, 17]]
    scores = np.linspace(1, 0, 20)[:, None]
    joined, apart = (metrics.stage_calibrated_average_precision(scores, targets, first_T=f) for f in (None, first))
    assert joined.shape == apart.shape == (10, 1)


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.data())
def test_runs_cover_the_marked_frames_and_nothing_else(marked: list[bool], data: st.DataObject) -> None:
    targets = np.array(marked)
    first = np.array(data.draw(st.lists(st.booleans(), min_size=len(marked), max_size=len(marked))))
    firsts, lasts = metrics.runs(targets, first)
    covered = np.zeros(len(marked), int)
    for begin, end in zip(firsts, lasts, strict=True):
        covered[begin : end + 1] += 1
        assert not first[begin + 1 : end + 1].any()
    np.testing.assert_array_equal(covered, targets)


def test_cliff_diving_counts_as_diving_where_that_raises_the_score() -> None:
    labels = ("background", "CliffDiving", "Diving")
    scores = np.array([[0.1, 0.8, 0.3], [0.1, 0.2, 0.4]])
    counted = metrics.count_cliff_diving_as_diving(scores, labels)
    assert counted.tolist() == [[0.1, 0.8, 0.8], [0.1, 0.2, 0.4]]
    with pytest.raises(ValueError, match="with the labels 'CliffDiving' and 'Diving'"):
        metrics.count_cliff_diving_as_diving(scores, ("background", "kick", "Diving"))


def test_a_clip_is_a_hit_when_fewer_than_k_labels_reach_its_score() -> None:
    scores, target = np.array([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3], [0.1, 0.1, 0.1]]), np.array([1, 1, 0])
    assert metrics.top_k_hits(scores, target, 1).tolist() == [True, False, False]
    assert metrics.top_k_hits(scores, target, 2).tolist() == [True, False, False]
    assert metrics.top_k_hits(scores, target, 3).tolist() == [True, True, True]


@given(st.lists(st.lists(st.integers(0, 5), min_size=4, max_size=4), min_size=1, max_size=20), st.data())
def test_hits_grow_with_k_and_do_not_depend_on_label_order(rows: list[list[int]], data: st.DataObject) -> None:
    scores = np.array(rows, float)
    target = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows))))
    order = np.array(data.draw(st.permutations(range(4))))
    hits = [metrics.top_k_hits(scores, target, k) for k in range(1, 5)]
    assert all((more >= fewer).all() for fewer, more in pairwise(hits))
    assert hits[-1].all()
    moved = np.argsort(order)[target]
    np.testing.assert_array_equal(metrics.top_k_hits(scores[:, order], moved, 2), hits[1])


def starts_ap(predicted: list[tuple[float, float]], true: list[float], within_s: float) -> float:
    times, scores = np.array([t for t, _ in predicted]), np.array([s for _, s in predicted])
    return metrics.start_average_precision(times, scores, np.array(true), within_s)


def test_starts_within_the_offset_count_and_others_do_not() -> None:
    assert starts_ap([(10.9, 0.9), (31.0, 0.8)], [10.0, 30.0], within_s=1.0) == 1.0
    assert starts_ap([(10.9, 0.9), (31.0, 0.8)], [10.0, 30.0], within_s=0.5) == 0.0
    assert starts_ap([(9.1, 0.9)], [10.0, 30.0], within_s=1.0) == 0.5


def test_a_second_start_for_one_action_is_a_miss() -> None:
    assert starts_ap([(10.0, 0.9), (10.2, 0.8), (30.0, 0.7)], [10.0, 30.0], 1.0) == pytest.approx((1 + 2 / 3) / 2)


def test_a_start_takes_the_nearest_action_and_a_weaker_one_what_is_left() -> None:
    assert starts_ap([(10.9, 0.9), (10.1, 0.8)], [10.0, 11.0], 2.0) == 1.0
    assert starts_ap([(10.4, 0.9), (10.6, 0.8)], [10.0, 11.0], 0.7) == 1.0


def test_no_predictions_score_zero() -> None:
    assert starts_ap([], [10.0], 1.0) == 0.0


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1)), max_size=30),
    st.lists(st.floats(0, 100), min_size=1, max_size=10),
    st.floats(0.1, 5),
)
def test_start_average_precision_is_a_share_bounded_by_the_recall(
    predicted: list[tuple[float, float]], true: list[float], within_s: float
) -> None:
    ap = starts_ap(predicted, true, within_s)
    assert 0 <= ap <= min(1.0, len(predicted) / len(true)) + 1e-9


def announcements(starts: list[float], actions: list[tuple[float, float]]) -> metrics.Announcements:
    times = np.array(starts)
    begins, ends = np.array([b for b, _ in actions]), np.array([e for _, e in actions])
    return metrics.match_announcements(times, times + 0.5, begins, ends)


def test_announced_starts_are_correct_from_a_second_before_to_the_end_of_their_action() -> None:
    found = announcements([8.9, 9.1, 39.0, 62.0, 63.9], [(10, 12), (30, 40), (60, 61)])
    assert found.correct.tolist() == [False, True, True, True, False]
    np.testing.assert_allclose(found.delays_s, [-0.4, 9.5, 2.5])
    assert announcements([64.1], [(60, 61)]).correct.tolist() == [False]
    assert announcements([1.0], []).correct.tolist() == [False]
