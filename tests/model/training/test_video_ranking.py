"""Videos ranked as a whole: which of them show an action."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.architectures import architecture
from model.config import StartRule
from model.training.evaluation.scores import StreamScores
from model.training.evaluation.video_ranking import rank_videos

CONFIG = replace(
    architecture("cake-xs", ("background", "fall", "fight")), start_rules={"fall": StartRule(enter=0.5, leave=0.3)}
)


def video(name: str, peak: float, *shown: str) -> StreamScores:
    """Scores of "fall" rise to `peak` for half a second."""
    scores = np.tile([0.9, 0.05, 0.05], (50, 1))
    scores[20:25, 1] = peak
    return StreamScores(name, np.arange(50) / 10, scores, [(2.0, 3.0, label) for label in shown])


def test_videos_with_falls_that_score_higher_than_all_others_are_separated() -> None:
    streams = [video("a", 0.8, "fall"), video("b", 0.9, "fall"), video("c", 0.3), video("d", 0.6, "fight")]
    fall = rank_videos(streams, CONFIG).labels["fall"]
    assert (fall.shown, fall.others, fall.found, fall.alarms) == (2, 2, 2, 1)
    assert fall.auc == 1.0
    assert fall.auc_interval == pytest.approx((1.0, 1.0))


def test_one_video_of_two_in_the_wrong_place_costs_what_chance_would_give() -> None:
    streams = [video("a", 0.8, "fall"), video("b", 0.2, "fall"), video("c", 0.4), video("d", 0.4)]
    fall = rank_videos(streams, CONFIG).labels["fall"]
    assert fall.auc == 0.5
    assert fall.auc_interval == (0.0, 1.0)


def test_a_label_that_no_video_shows_or_that_has_no_rule_is_not_judged() -> None:
    ranking = rank_videos([video("a", 0.8, "fall"), video("c", 0.2)], CONFIG)
    fight = ranking.labels["fight"]
    assert (fight.auc, fight.auc_interval, fight.found, fight.alarms) == (None, None, 0, 0)
    assert ranking.table().splitlines() == [
        "         AUC            95 %   found  alarms",
        "fall   1.000  1.000 to 1.000  1 of 1  0 of 1",
        "fight      -               -  0 of 0  0 of 2",
    ]


def test_no_video_is_an_error() -> None:
    with pytest.raises(ValueError, match="no video to rank"):
        rank_videos([], CONFIG)


@given(
    st.lists(st.floats(0.06, 1.0), min_size=1, max_size=6),
    st.lists(st.floats(0.06, 1.0), min_size=1, max_size=6),
)
def test_the_area_is_the_share_of_pairs_in_the_right_order(shown: list[float], others: list[float]) -> None:
    streams = [video(str(peak), peak, "fall") for peak in shown] + [video(str(peak), peak) for peak in others]
    pairs = [(a > b) + 0.5 * (a == b) for a in shown for b in others]
    fall = rank_videos(streams, CONFIG).labels["fall"]
    assert fall.auc == pytest.approx(np.mean(pairs))
    assert fall.auc_interval is not None
    low, high = fall.auc_interval
    assert -1e-9 <= low <= high <= 1 + 1e-9
