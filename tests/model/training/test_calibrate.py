import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import BACKGROUND, StartRule
from model.gaps import frames_after_gaps
from model.score_drift import histogram_of
from model.thresholds import ActionStart, StartDecoder
from model.training.evaluation.calibrate import Calibration, calibrate
from model.training.evaluation.evaluate import evaluate
from model.training.evaluation.scores import StreamScores, decode, join_streams, scores_without_action
from model.training.layouts.segments import AMBIGUOUS, Segment

HZ = 10.0
LABELS = (BACKGROUND, "kick", "jump")
RULES = {label: StartRule(0.5, 0.3) for label in LABELS[1:]}
CANDIDATES = StartRule(0.1, 0.05)
OFFSETS = ("0.5", "1", "2", "4")


def random_segments(seed: int, duration_s: float = 60.0) -> list[Segment]:
    """Actions of 2 s with 3 to 6 s between them, on the grid of the frames."""
    rng = np.random.default_rng(seed)
    starts_s = np.cumsum(rng.integers(50, 80, 30)) / HZ
    return [(float(s), float(s + 2), LABELS[1 + i % 2]) for i, s in enumerate(starts_s) if s < duration_s - 5]


def scored(
    name: str, segments: list[Segment], delay_s: float = 0.0, high: float = 0.9, low: float = 0.01
) -> StreamScores:
    """A detector that sees every action in full, `delay_s` late."""
    pts_s = np.arange(600) / HZ
    scores = np.full((600, len(LABELS)), low)
    for start_s, end_s, label in segments:
        scores[round((start_s + delay_s) * HZ) : round((end_s + delay_s) * HZ), LABELS.index(label)] = high
    return StreamScores(name, pts_s, scores, segments)


def noisy(seed: int, sure: float) -> StreamScores:
    """An action raises its score to about `sure`, gradually; now and then something else raises it for a moment."""
    rng = np.random.default_rng(seed)
    stream = scored(str(seed), random_segments(seed), delay_s=0.3, high=sure, low=0.05)
    scores = stream.scores + rng.normal(0, 0.05, stream.scores.shape)
    for frame in rng.integers(0, 590, 12):
        scores[frame : frame + 2, rng.integers(1, 3)] += 0.5
    return StreamScores(stream.name, stream.pts_s, scores.clip(0, 1), stream.segments)


def test_a_perfect_detector_scores_one_everywhere_and_announces_immediately() -> None:
    report = evaluate([scored(str(i), random_segments(i)) for i in range(3)], LABELS, RULES, CANDIDATES)
    assert report.frame_map == report.frame_cmap == 1.0
    assert report.start_map == dict.fromkeys(OFFSETS, 1.0)
    assert (report.start_delay_s.median, report.start_delay_s.p90) == pytest.approx((0.0, 0.0), abs=1e-6)
    assert report.false_starts_per_hour == 0.0
    assert all(c.found == c.actions > 0 for c in report.per_class.values())


def test_a_detector_that_is_late_by_one_second_and_a_half_finds_starts_at_two_seconds_only() -> None:
    report = evaluate([scored("late", random_segments(1), delay_s=1.5)], LABELS, RULES, CANDIDATES)
    assert report.start_map == {"0.5": 0.0, "1": 0.0, "2": 1.0, "4": 1.0}
    assert report.start_delay_s.median == pytest.approx(1.5)
    assert report.false_starts_per_hour == 0.0


def test_a_minimum_duration_delays_the_decision_and_not_the_time_it_names() -> None:
    rules = {label: StartRule(0.5, 0.3, min_duration_s=0.4) for label in LABELS[1:]}
    report = evaluate([scored("a", random_segments(1))], LABELS, rules, StartRule(0.5, 0.3, min_duration_s=0.4))
    assert report.start_map["0.5"] == 1.0
    assert report.start_delay_s.median == pytest.approx(0.4)


def test_a_detector_that_sees_the_wrong_action_makes_false_starts_only() -> None:
    stream = scored("a", [(10.0, 12.0, "kick"), (30.0, 32.0, "kick")])
    swapped = StreamScores("a", stream.pts_s, stream.scores[:, [0, 2, 1]], stream.segments)
    report = evaluate([swapped], LABELS, RULES, CANDIDATES)
    assert report.per_class["kick"].found == 0
    assert report.per_class["jump"].false_starts == 2
    assert report.false_starts_per_hour == pytest.approx(2 * 60)
    assert report.start_delay_s.median is None
    assert report.per_class["jump"].frame_ap is None
    assert report.start_map["4"] == 0.0


def test_ambiguous_frames_do_not_count_in_the_frame_average_precision() -> None:
    stream = scored("a", [(10.0, 12.0, "kick")])
    doubtful = StreamScores("a", stream.pts_s, stream.scores.copy(), [*stream.segments, (30.0, 31.0, "ambiguous")])
    doubtful.scores[300:310, 1] = 0.95
    report = evaluate([doubtful], LABELS, {}, CANDIDATES)
    assert report.frame_map == 1.0
    assert report.per_class["kick"].frame_cap != 1.0


def test_the_report_is_json_with_exactly_the_promised_keys_and_a_readable_table() -> None:
    report = evaluate([scored("a", [(10.0, 12.0, "kick")])], LABELS, RULES, CANDIDATES)
    values = json.loads(json.dumps(report.to_json(), allow_nan=False))
    keys = ["frame_map", "frame_cmap", "stage_cmap", "start_map", "start_delay_s", "false_starts_per_hour"]
    keys += ["start_rules", "per_class"]
    assert list(values) == keys
    assert list(values["start_map"]) == list(OFFSETS)
    assert len(values["stage_cmap"]) == 10
    assert list(values["start_delay_s"]) == ["median", "p90"]
    assert values["per_class"]["kick"]["frame_ap"] == 1.0
    assert values["per_class"]["jump"]["frame_ap"] is None
    lines = report.table().splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["kick", "jump", "all"]
    assert lines[1].split()[1:] == ["100.0"] * 6 + ["1", "1", "0"]
    assert "0.0 false starts per hour" in lines[-1]


def test_data_that_cannot_be_evaluated_is_rejected_by_name() -> None:
    stream = scored("film", [(10.0, 12.0, "kick")])
    with pytest.raises(ValueError, match="no stream"):
        evaluate([], LABELS, RULES, CANDIDATES)
    with pytest.raises(ValueError, match="film: 3 scores a frame for 2 labels"):
        evaluate([stream], LABELS[:2], {}, CANDIDATES)
    with pytest.raises(ValueError, match="film: the model does not know swim"):
        evaluate([StreamScores("film", stream.pts_s, stream.scores, [(1.0, 2.0, "swim")])], LABELS, RULES, CANDIDATES)
    with pytest.raises(ValueError, match="film: the frames' times do not grow"):
        StreamScores("film", stream.pts_s[::-1], stream.scores, [])
    with pytest.raises(ValueError, match="film: scores of shape"):
        StreamScores("film", stream.pts_s[1:], stream.scores, [])
    with pytest.raises(ValueError, match=r"film: kick at 2\.0 s ends before it starts"):
        StreamScores("film", stream.pts_s, stream.scores, [(2.0, 1.0, "kick")])
    with pytest.raises(ValueError, match="no stream"):
        calibrate([], LABELS)


levels = st.sampled_from([0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0])
start_rules = st.builds(
    lambda enter, leave, duration, refractory: StartRule(enter, min(leave, enter), duration, refractory),
    st.sampled_from([0.3, 0.5, 0.8]),
    st.sampled_from([0.0, 0.3, 0.5]),
    st.sampled_from([0.0, 0.2, 0.5]),
    st.sampled_from([0.0, 0.4, 1.0]),
)


@given(
    st.lists(st.lists(levels, min_size=1, max_size=50), min_size=1, max_size=3),
    start_rules,
    st.floats(0, 50),
    st.dictionaries(st.integers(1, 49), st.sampled_from([0.5, 1.9, 2.1, 300.0]), max_size=3),
)
def test_whole_array_decisions_equal_those_of_the_start_decoder(
    columns: list[list[float]], rule: StartRule, first_pts_s: float, pauses_s: dict[int, float]
) -> None:
    streams, expected = [], []
    for number, column in enumerate(columns):
        scores = np.column_stack([np.zeros(len(column)), column])
        steps_s = [pauses_s.get(frame, 1 / HZ) for frame in range(1, len(column))]
        times_s = first_pts_s + np.cumsum([0.0, *steps_s])
        streams.append(StreamScores(str(number), times_s, scores, []))
        decoder = StartDecoder(LABELS[:2], {"kick": rule})
        for pts_s, frame, is_after_gap in zip(times_s, scores, frames_after_gaps(times_s), strict=True):
            if is_after_gap:
                decoder.gap(pts_s)
            expected += [(number, e) for e in decoder.push(pts_s, frame) if isinstance(e, ActionStart)]
    joined = join_streams(streams, 1, "kick")
    starts = decode(joined, rule)
    assert joined.stream_of(starts.start_s).tolist() == [number for number, _ in expected]
    np.testing.assert_allclose(starts.score, [event.score for _, event in expected], atol=1e-9)
    np.testing.assert_allclose(
        starts.decided_s - starts.start_s, [event.decided_s - event.start_s for _, event in expected], atol=1e-6
    )


@pytest.fixture(scope="module")
def calibrated() -> Calibration:
    return calibrate([noisy(seed, sure=0.6) for seed in range(6)], LABELS)


def test_calibrated_rules_find_the_actions_of_unseen_streams_at_less_than_one_false_start_a_minute(
    calibrated: Calibration,
) -> None:
    assert list(calibrated.rules) == list(LABELS[1:])
    unseen = [noisy(seed, sure=0.6) for seed in range(20, 26)]
    report = evaluate(unseen, LABELS, calibrated.rules, calibrated.candidate_rule)
    classes = report.per_class.values()
    assert sum(c.found or 0 for c in classes) >= 0.9 * sum(c.actions for c in classes)
    assert report.false_starts_per_hour is not None
    assert report.false_starts_per_hour < 60
    assert report.start_delay_s.median == pytest.approx(0.5, abs=0.3)


def test_calibrated_candidates_rank_starts_better_than_bare_threshold_crossings(calibrated: Calibration) -> None:
    unseen = [noisy(seed, sure=0.6) for seed in range(20, 26)]
    bare, chosen = (
        evaluate(unseen, LABELS, {}, rule).start_map["1"] for rule in (StartRule(0.1, 0.1), calibrated.candidate_rule)
    )
    assert chosen == pytest.approx(1.0, abs=0.1)
    assert bare is not None
    assert chosen is not None
    assert bare < chosen - 0.1
    assert calibrated.candidate_rule.min_duration_s < 0.5


def test_a_label_that_is_scored_lower_gets_a_lower_threshold_when_there_is_enough_of_it() -> None:
    def streams(seed: int) -> StreamScores:
        stream = noisy(seed, sure=0.9)
        return StreamScores(stream.name, stream.pts_s, stream.scores * np.array([1, 1, 0.3]), stream.segments)

    rules = calibrate([streams(seed) for seed in range(10)], LABELS).rules
    assert rules["jump"].enter < 0.3 <= rules["kick"].enter


def test_one_stream_and_a_label_that_never_occurs_are_enough_to_calibrate() -> None:
    stream = scored("a", [(10.0, 12.0, "kick")])
    settings_chosen = calibrate([stream], LABELS)
    report = evaluate([stream], LABELS, settings_chosen.rules, settings_chosen.candidate_rule)
    assert report.per_class["kick"].found == report.start_map["1"] == 1
    assert report.false_starts_per_hour == 0
    silent = StreamScores("a", stream.pts_s, np.full_like(stream.scores, 0.01), [])
    assert list(calibrate([silent], LABELS).rules) == ["kick", "jump"]


@settings(max_examples=3)
@given(st.permutations(range(4)))
def test_the_order_of_the_streams_does_not_change_the_report(order: list[int]) -> None:
    streams = [noisy(seed, sure=0.6) for seed in range(4)]
    straight, permuted = (evaluate(s, LABELS, RULES, CANDIDATES) for s in (streams, [streams[i] for i in order]))
    assert straight.start_map == pytest.approx(permuted.start_map)
    assert straight.false_starts_per_hour == permuted.false_starts_per_hour


def test_streams_of_one_frame_each_are_refused() -> None:
    one = StreamScores("one", np.array([0.0]), np.array([[0.5, 0.5]]), [])
    with pytest.raises(ValueError, match="more than one frame"):
        evaluate([one], (BACKGROUND, "kick"), {}, StartRule(0.5, 0.5))


def test_without_start_rules_no_start_is_reported_as_found_or_false() -> None:
    report = evaluate([scored("a", [(10.0, 12.0, "kick")])], LABELS, {}, CANDIDATES)
    kick = report.per_class["kick"]
    assert (kick.actions, kick.found, kick.false_starts) == (1, None, None)
    assert (report.false_starts_per_hour, report.start_rules) == (None, "none")
    assert report.table().splitlines()[1].split()[-3:] == ["1", "-", "-"]
    assert "no start rules" in report.table().splitlines()[-1]


def test_a_report_with_default_rules_says_that_they_are_not_calibrated() -> None:
    report = evaluate([scored("a", [(10.0, 12.0, "kick")])], LABELS, RULES, CANDIDATES, rules_origin="default")
    assert report.start_rules == "default"
    assert "(default, not calibrated)" in report.table().splitlines()[-1]


def test_a_limit_of_false_starts_holds_for_each_label_and_loses_no_more_starts_than_needed() -> None:
    streams = [noisy(seed, sure=0.6) for seed in range(4)]
    hours = sum(stream.duration_s for stream in streams) / 3600
    found = []
    for allowed in (0, 3, 1000):
        chosen = calibrate(streams, LABELS, max_false_starts_per_hour=allowed / hours)
        classes = evaluate(streams, LABELS, chosen.rules, chosen.candidate_rule).per_class.values()
        assert all((c.false_starts or 0) <= allowed for c in classes)
        found.append(sum(c.found or 0 for c in classes))
    assert 0 < found[0] <= found[1] <= found[2]


def test_a_label_that_no_rule_keeps_within_the_limit_gets_the_rule_with_the_fewest_false_starts() -> None:
    sure_of_nothing = StreamScores("a", np.arange(600) / HZ, np.ones((600, 3)), [])
    rules = calibrate([sure_of_nothing], LABELS, max_false_starts_per_hour=0).rules
    assert evaluate([sure_of_nothing], LABELS, rules, CANDIDATES).per_class["kick"].false_starts == 1


def test_the_scores_for_drift_are_those_of_frames_without_the_action() -> None:
    one = scored("one", [(10.0, 12.0, "kick")], low=0.03)
    one = StreamScores("one", one.pts_s, one.scores, [*one.segments, (20.0, 50.0, AMBIGUOUS)])
    streams = [one, scored("two", [], low=0.3)]
    found = scores_without_action(streams, LABELS)
    assert found == {
        "kick": histogram_of([0.03] * (600 - 20 - 300) + [0.3] * 600),
        "jump": histogram_of([0.03] * (600 - 300) + [0.3] * 600),
    }
    assert scores_without_action([scored("all", [(0.0, 60.0, "kick")])], (BACKGROUND, "kick")) == {}
