"""Other rules are tried on stored scores."""

import numpy as np
from hypothesis import given

from model.config import StartRule, rules_hash
from model.redecide import NearMiss, redecide
from model.thresholds import ActionStart
from tests.model.test_thresholds import LABELS, Frames, RuleSet, decode_whole, pts, rule_sets, scores


@given(rule_sets, scores)
def test_the_same_rules_decide_the_same_once_more(rule_set: RuleSet, frames: Frames) -> None:
    pts_s_T = np.array([pts(i) for i in range(len(frames))])
    again = redecide(LABELS, rule_set, pts_s_T, np.array(frames).reshape(-1, 3), is_over=True)
    starts = [event for event in decode_whole(rule_set, frames) if isinstance(event, ActionStart)]
    assert again.starts == starts
    assert len(again.ends) == len(starts)
    for miss in again.near_misses:
        rule = rule_set[miss.label]
        assert miss.start_s <= miss.peak_s <= miss.end_s
        assert miss.peak >= rule.enter / 2
        assert (miss.reason == "below_enter") == (miss.peak < rule.enter)


def kick(values: list[float], rule: StartRule) -> list[NearMiss]:
    scores_TK = np.array([[0.0, value, 0.0] for value in values])
    return redecide(LABELS, {"kick": rule}, np.arange(len(values)) / 10, scores_TK).near_misses


def test_a_peak_below_enter_is_a_near_miss_and_an_announced_action_is_none() -> None:
    assert kick([0.0, 0.4, 0.45, 0.0, 0.6], StartRule(0.5, 0.3, refractory_s=0.1)) == [
        NearMiss("kick", 0.45, 0.2, 0.1, 0.2, "below_enter")
    ]


def test_scores_that_rise_to_a_start_in_steps_are_not_a_near_miss() -> None:
    assert kick([0.0, 0.4, 0.2, 0.6], StartRule(0.5, 0.3, refractory_s=1.0)) == []


def test_a_near_miss_says_whether_it_was_too_short_or_came_too_soon() -> None:
    reasons = [miss.reason for miss in kick([0.6, 0.0, 0.6, 0.0], StartRule(0.5, 0.3, min_duration_s=0.1))]
    assert reasons == ["too_short", "too_short"]
    assert [miss.reason for miss in kick([0.6, 0.0, 0.6, 0.0], StartRule(0.5, 0.3))] == ["refractory"]


def test_a_gap_ends_an_action_as_it_did_when_it_was_analysed() -> None:
    pts_s_T, scores_TK = np.array([0.0, 0.1, 5.0004, 5.1]), np.tile([0.0, 0.6, 0.0], (4, 1))
    again = redecide(LABELS, {"kick": StartRule(0.5, 0.3)}, pts_s_T, scores_TK, gaps_s=[5.0])
    assert [(end.end_s, end.decided_s) for end in again.ends] == [(0.1, 5.0004)]
    assert [start.start_s for start in again.starts] == [0.0, 5.0004]


def test_the_fingerprint_of_rules_depends_on_each_rule_and_not_on_their_order() -> None:
    kick_rule, jump_rule = StartRule(0.5, 0.3), StartRule(0.6, 0.3)
    assert rules_hash({"kick": kick_rule, "jump": jump_rule}) == rules_hash({"jump": jump_rule, "kick": kick_rule})
    assert rules_hash({"kick": kick_rule, "jump": jump_rule}) != rules_hash({"kick": jump_rule, "jump": kick_rule})
