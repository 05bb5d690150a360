import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.config import BACKGROUND, StartRule
from model.thresholds import ActionEnd, ActionStart, StartDecoder

LABELS = (BACKGROUND, "kick", "jump")
HZ = 10.0
Frames = Sequence[tuple[float, ...]]
RuleSet = dict[str, StartRule]

scores = st.lists(st.tuples(*[st.sampled_from([0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0])] * 3), max_size=80)
rules = st.builds(
    lambda enter, leave, duration, refractory: StartRule(enter, min(leave, enter), duration, refractory),
    st.sampled_from([0.3, 0.5, 0.8]),
    st.sampled_from([0.1, 0.3, 0.5]),
    st.sampled_from([0.0, 0.2, 0.5]),
    st.sampled_from([0.0, 0.4, 1.0]),
)
rule_sets = st.fixed_dictionaries({"kick": rules, "jump": rules})


def pts(frame: int) -> float:
    return frame / HZ


def decode(decoder: StartDecoder, frames: Frames, first: int = 0) -> list[ActionStart | ActionEnd]:
    return [event for i, frame in enumerate(frames, first) for event in decoder.push(pts(i), frame)]


def decode_whole(rule_set: RuleSet, frames: Frames) -> list[ActionStart | ActionEnd]:
    decoder = StartDecoder(LABELS, rule_set)
    return [*decode(decoder, frames), *decoder.finish(pts(len(frames)))]


def kick(values: list[float], rule: StartRule) -> list[ActionStart | ActionEnd]:
    return decode(StartDecoder(LABELS, {"kick": rule}), [(0.0, value, 0.0) for value in values])


def test_a_start_is_announced_once_the_run_has_lasted_and_dated_to_its_first_frame() -> None:
    events = kick([0.125, 0.625, 0.375, 0.875, 0.125, 0.0], StartRule(0.5, 0.25, min_duration_s=0.2))
    assert events == [ActionStart("kick", 0.625, 0.1, 0.3), ActionEnd("kick", 0.625, 0.1, 0.4, 0.4)]


def test_without_a_minimum_duration_the_first_frame_decides() -> None:
    assert kick([0.1, 0.6], StartRule(0.5, 0.3)) == [ActionStart("kick", 0.6, 0.1, 0.1)]


def test_a_run_that_falls_below_leave_too_soon_is_not_a_start() -> None:
    assert kick([0.6, 0.9, 0.2, 0.0], StartRule(0.5, 0.3, min_duration_s=0.2)) == []


def test_scores_between_the_thresholds_neither_start_nor_end_anything() -> None:
    assert kick([0.4] * 5, StartRule(0.5, 0.3)) == []
    assert len(kick([0.6] + [0.4] * 5, StartRule(0.5, 0.3))) == 1


def test_a_run_that_begins_within_the_refractory_time_stays_silent_to_its_end() -> None:
    rule = StartRule(0.5, 0.3, refractory_s=0.5)
    events = kick([0.6, 0.0, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.0, 0.6], rule)
    assert [event.start_s for event in events if isinstance(event, ActionStart)] == [0.0, 0.9]


def test_a_label_without_a_rule_and_the_background_are_not_reported() -> None:
    decoder = StartDecoder(LABELS, {BACKGROUND: StartRule(0.5, 0.3), "jump": StartRule(0.5, 0.3)})
    assert [event.label for event in decoder.push(0.0, (1.0, 1.0, 1.0))] == ["jump"]


def test_the_end_of_the_stream_ends_open_actions_and_drops_rising_ones() -> None:
    decoder = StartDecoder(LABELS, {"kick": StartRule(0.5, 0.3), "jump": StartRule(0.5, 0.3, min_duration_s=9.0)})
    decoder.push(0.0, (0.0, 0.6, 0.6))
    assert decoder.finish(0.1) == [ActionEnd("kick", 0.6, 0.0, 0.1, 0.1)]
    assert decoder.finish(0.1) == []


def test_a_gap_ends_open_actions_at_the_last_frame_seen() -> None:
    decoder = StartDecoder(LABELS, {"kick": StartRule(0.5, 0.3, refractory_s=1.0)})
    decode(decoder, [(0.0, 0.6, 0.0)] * 3)
    assert decoder.gap(7.0) == [ActionEnd("kick", 0.6, 0.0, end_s=0.2, decided_s=7.0)]
    assert decoder.push(7.0, (0.0, 0.7, 0.0)) == [ActionStart("kick", 0.7, 7.0, 7.0)]
    assert StartDecoder(LABELS, {"kick": StartRule(0.5, 0.3)}).gap(1.0) == []


def test_frames_out_of_order_and_malformed_scores_are_refused() -> None:
    decoder = StartDecoder(LABELS, {"kick": StartRule(0.5, 0.3)})
    decoder.push(1.0, (0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="cannot follow"):
        decoder.push(1.0, (0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="2 scores for 3 labels"):
        decoder.push(2.0, (0.0, 0.0))
    with pytest.raises(ValueError, match="finite"):
        decoder.push(2.0, (0.0, float("nan"), 0.0))
    with pytest.raises(ValueError, match="swim"):
        StartDecoder(LABELS, {"swim": StartRule(0.5, 0.3)})


@pytest.mark.parametrize(
    ("snapshot", "why"),
    [
        ({}, "not a snapshot"),
        ({"last_pts_s": None, "tracks": {}}, "other labels or rules"),
        ({"last_pts_s": None, "tracks": {"kick": {"phase": "open"}}}, "not a snapshot"),
        (
            {
                "last_pts_s": 0.0,
                "tracks": {
                    "kick": {"phase": "?", "start_s": 0.0, "score_sum": 0.0, "frames": 1, "quiet_until_s": None}
                },
            },
            "not a valid _Phase",
        ),
    ],
)
def test_a_snapshot_of_another_decoder_is_rejected(snapshot: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        StartDecoder.restore(LABELS, {"kick": StartRule(0.5, 0.3)}, snapshot)


@given(rule_sets, scores)
def test_starts_and_ends_of_a_label_alternate_and_every_start_ends(rule_set: RuleSet, frames: Frames) -> None:
    events = decode_whole(rule_set, frames)
    for label in rule_set:
        kinds = [type(event) for event in events if event.label == label]
        assert kinds == [ActionStart, ActionEnd] * (len(kinds) // 2)


@given(rule_sets, scores)
def test_decisions_never_go_back_in_time(rule_set: RuleSet, frames: Frames) -> None:
    decided = [event.decided_s for event in decode_whole(rule_set, frames)]
    assert decided == sorted(decided)


@given(rule_sets, scores)
def test_starts_last_their_minimum_and_keep_the_refractory_time(rule_set: RuleSet, frames: Frames) -> None:
    events = decode_whole(rule_set, frames)
    for label, rule in rule_set.items():
        starts = [event for event in events if event.label == label and isinstance(event, ActionStart)]
        ends = [event for event in events if event.label == label and isinstance(event, ActionEnd)]
        for start, end in zip(starts, ends, strict=True):
            assert start.decided_s - start.start_s >= rule.min_duration_s - 1e-6
            assert end.start_s == start.start_s
            assert end.end_s >= start.decided_s
            assert rule.leave <= start.score <= 1
            assert rule.leave <= end.score <= 1
        for end, following in zip(ends, starts[1:], strict=False):
            assert following.start_s >= end.end_s + rule.refractory_s - 1e-6


@given(rule_sets, scores, st.integers(0, 80))
def test_a_prefix_of_the_scores_gives_a_prefix_of_the_events(rule_set: RuleSet, frames: Frames, cut: int) -> None:
    whole = decode(StartDecoder(LABELS, rule_set), frames)
    prefix = decode(StartDecoder(LABELS, rule_set), frames[:cut])
    assert prefix == whole[: len(prefix)]


@given(rule_sets, scores, st.lists(st.integers(0, 80), max_size=4))
def test_a_decoder_restored_at_any_point_continues_as_if_never_interrupted(
    rule_set: RuleSet, frames: Frames, cuts: list[int]
) -> None:
    decoder = StartDecoder(LABELS, rule_set)
    events = []
    bounds = [0, *sorted(min(cut, len(frames)) for cut in cuts), len(frames)]
    for begin, end in pairwise(bounds):
        events += decode(decoder, frames[begin:end], begin)
        decoder = StartDecoder.restore(LABELS, rule_set, json.loads(json.dumps(decoder.snapshot())))
    assert [*events, *decoder.finish(pts(len(frames)))] == decode_whole(rule_set, frames)


@given(rule_sets, scores)
def test_labels_do_not_disturb_each_other(rule_set: RuleSet, frames: Frames) -> None:
    alone = [event for label in rule_set for event in decode_whole({label: rule_set[label]}, frames)]
    together = decode_whole(rule_set, frames)
    assert sorted(together, key=repr) == sorted(alone, key=repr)


@given(rule_sets, rule_sets, scores, st.integers(0, 80))
def test_changed_rules_decide_later_runs_as_if_they_had_always_applied(
    before: RuleSet, after: RuleSet, frames: Frames, cut: int
) -> None:
    quiet: Frames = [(0.0, 0.0, 0.0)] * 11
    changed = StartDecoder(LABELS, before)
    decode(changed, [*frames[:cut], *quiet])
    assert changed.change(after) == []
    fresh = StartDecoder(LABELS, after)
    fresh.push(pts(len(frames[:cut]) + len(quiet)), (0.0, 0.0, 0.0))
    first = len(frames[:cut]) + len(quiet) + 1
    assert decode(changed, frames[cut:], first) == decode(fresh, frames[cut:], first)


def test_an_announced_action_continues_and_ends_under_changed_rules() -> None:
    decoder = StartDecoder(LABELS, {"kick": StartRule(0.5, 0.3)})
    decoder.push(0.0, (0.0, 0.6, 0.0))
    assert decoder.change({"kick": StartRule(0.9, 0.55)}) == []
    assert decoder.push(0.1, (0.0, 0.5, 0.0)) == [ActionEnd("kick", 0.6, 0.0, 0.1, 0.1)]


def test_an_action_whose_label_loses_its_rule_ends_with_the_last_frame() -> None:
    decoder = StartDecoder(LABELS, {"kick": StartRule(0.5, 0.3)})
    decoder.push(0.0, (0.0, 0.75, 0.0))
    decoder.push(0.1, (0.0, 0.75, 0.0))
    assert decoder.change({"jump": StartRule(0.5, 0.3)}) == [ActionEnd("kick", 0.75, 0.0, 0.1, 0.1)]
    assert [event.label for event in decoder.push(0.2, (0.0, 0.8, 0.8))] == ["jump"]


def test_a_run_that_rises_is_decided_afresh_when_its_rule_changes() -> None:
    decoder = StartDecoder(LABELS, {"kick": StartRule(0.5, 0.3, min_duration_s=0.1)})
    decoder.push(0.0, (0.0, 0.6, 0.0))
    decoder.change({"kick": StartRule(0.7, 0.3, min_duration_s=0.1)})
    assert decoder.push(0.1, (0.0, 0.6, 0.0)) == []


def test_a_restored_decoder_keeps_the_rules_of_its_snapshot() -> None:
    changed = StartDecoder(LABELS, {"kick": StartRule(0.5, 0.3)})
    changed.change({"jump": StartRule(0.9, 0.3)})
    restored = StartDecoder.restore(LABELS, {"kick": StartRule(0.5, 0.3)}, changed.snapshot())
    assert restored.rules == {"jump": StartRule(0.9, 0.3)}
