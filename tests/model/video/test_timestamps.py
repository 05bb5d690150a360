"""Media time always increases, loses no frame, and lets one wrong timestamp affect only its own frame."""

from fractions import Fraction
from itertools import accumulate, pairwise

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from model.video.timestamps import CHECKED_STEPS, LONGEST_GAP_S, FrameClock, FrameTimeline

STEP_S = 0.04


def media_times(clock_s: list[float | None], last_s: float | None = None) -> list[float]:
    """Media times of frames 0, 1, 2, ... whose clock shows `clock_s`."""
    timeline: FrameTimeline[int] = FrameTimeline(STEP_S, last_s)
    timed = [pair for number, at_s in enumerate(clock_s) for pair in timeline.add(number, at_s)]
    timed += timeline.finish()
    assert [number for number, _ in timed] == list(range(len(clock_s)))
    return [media_s for _, media_s in timed]


def regular(count: int, first_s: float = 0.0) -> list[float | None]:
    return [first_s + number * STEP_S for number in range(count)]


@example([-14286.963151276126, 0.0, 3.0, 1e-12], None)
@given(
    st.lists(st.none() | st.floats(-1e5, 1e5) | st.sampled_from([0.0, 0.04, 0.08, 0.12]), max_size=40),
    st.none() | st.floats(0.0, 1e4),
)
def test_time_always_increases_and_every_frame_is_kept(clock_s: list[float | None], last_s: float | None) -> None:
    times_s = media_times(clock_s, last_s)
    assert all(later > earlier for earlier, later in pairwise(times_s))
    assert last_s is None or all(media_s > last_s for media_s in times_s)


@given(st.lists(st.floats(0.001, LONGEST_GAP_S), min_size=1, max_size=30))
def test_times_that_increase_stay_as_they_are(steps_s: list[float]) -> None:
    clock_s = list(accumulate(steps_s, initial=0.0))
    assert media_times([*clock_s, clock_s[-1] + 0.001]) == [*clock_s, clock_s[-1] + 0.001]


@given(st.integers(1, 28), st.floats(-1e6, 1e6))
def test_one_wrong_timestamp_affects_only_its_own_frame(number: int, wrong_s: float) -> None:
    clock_s = regular(30)
    assume(abs(wrong_s - number * STEP_S) > CHECKED_STEPS * STEP_S)
    clock_s[number] = wrong_s
    times_s = media_times(clock_s)
    assert times_s[:number] == regular(number)
    assert times_s[number + 1 :] == clock_s[number + 1 :]


def test_a_wrong_timestamp_of_the_last_frame_is_corrected() -> None:
    assert media_times([*regular(10), 3600.0]) == pytest.approx(regular(11))


def test_a_wrong_timestamp_every_few_frames_is_corrected() -> None:
    clock_s = [at_s if number % 5 else 7200.0 + number for number, at_s in enumerate(regular(60))]
    clock_s[0] = 0.0
    assert media_times(clock_s) == pytest.approx(regular(60))


@pytest.mark.parametrize("first_s", [-500.0, 0.0, 0.3, 20_000.0])
def test_a_clock_that_restarts_or_was_set_continues_after_the_last_frame(first_s: float) -> None:
    timeline: FrameTimeline[None] = FrameTimeline(STEP_S)
    clock_s = [*regular(50), *regular(50, first_s)]
    timed = [media_s for at_s in clock_s for _, media_s in timeline.add(None, at_s)]
    assert [*timed, *(media_s for _, media_s in timeline.finish())] == pytest.approx(regular(100))
    assert (timeline.restarts, timeline.corrected) == (1, 0)


def test_a_gap_that_frames_confirm_is_kept() -> None:
    assert media_times([*regular(10), *regular(10, 300.0)]) == [*regular(10), *regular(10, 300.0)]


def test_a_regular_time_lapse_is_kept_to_its_last_frame() -> None:
    clock_s: list[float | None] = [60.0 * number for number in range(20)]
    assert media_times(clock_s) == clock_s


def test_frames_without_a_timestamp_follow_at_the_stated_rate() -> None:
    assert media_times([None] * 5) == pytest.approx(regular(5))
    assert media_times([*regular(4), None, None]) == pytest.approx(regular(6))


def test_a_frame_without_a_timestamp_follows_when_the_decoder_says_that_the_one_before_ends() -> None:
    timeline: FrameTimeline[int] = FrameTimeline(1.0)
    timed = [pair for number in range(4) for pair in timeline.add(number, None if number else 0.0, STEP_S)]
    assert [media_s for _, media_s in timed] == pytest.approx(regular(4))


@pytest.mark.parametrize("shown_s", [0.0, 90_000.0])
def test_a_frame_that_claims_to_be_shown_for_an_absurd_time_follows_at_the_stated_rate(shown_s: float) -> None:
    timeline: FrameTimeline[int] = FrameTimeline(STEP_S)
    timed = [pair for number in range(4) for pair in timeline.add(number, None if number else 0.0, shown_s)]
    assert [media_s for _, media_s in timed] == pytest.approx(regular(4))


def test_a_clock_that_stops_gives_frames_at_the_stated_rate() -> None:
    assert media_times([0.0] * 6) == pytest.approx(regular(6))


def seconds(stamps: list[tuple[int | None, int | None]]) -> list[float | None]:
    clock = FrameClock(*stamps[0], Fraction(1, 25))
    return [clock.seconds(pts, dts) for pts, dts in stamps]


def test_presentation_timestamps_in_order_are_used() -> None:
    assert seconds([(10, 12), (12, 13), (13, 14), (17, None)]) == pytest.approx([0.0, 0.08, 0.12, 0.28])


def test_without_presentation_timestamps_decoding_timestamps_are_used() -> None:
    assert seconds([(None, 2), (None, 3), (None, 4), (None, None)]) == pytest.approx([0.0, 0.04, 0.08, None])


def test_decoding_timestamps_stand_in_for_missing_presentation_timestamps_on_the_same_clock() -> None:
    assert seconds([(0, 1), (2, 2), (3, 3), (None, 4), (5, 5)]) == pytest.approx([0.0, 0.08, 0.12, 0.16, 0.20])


def test_presentation_timestamps_in_decoding_order_are_replaced() -> None:
    stamps: list[tuple[int | None, int | None]] = [(0, 2), (3, 3), (2, 4), (4, 5), (1, 6), (7, 7)]
    assert seconds(stamps)[2:] == pytest.approx([0.08, 0.12, 0.16, 0.20])


def test_one_presentation_timestamp_far_ahead_leaves_the_others_in_use() -> None:
    """Of Matroska, FFmpeg derives the decoding timestamps, which stay wrong after it."""
    stamps: list[tuple[int | None, int | None]] = [(0, 0), (1, 1), (1000, 3), (3, 4), (4, 5), (5, 6)]
    assert seconds(stamps)[3:] == pytest.approx([0.12, 0.16, 0.2])


def test_a_restart_of_both_clocks_keeps_presentation_timestamps() -> None:
    assert seconds([(0, 0), (1, 1), (0, 0), (1, 1), (5, 2)])[2:] == pytest.approx([0.0, 0.04, 0.2])


def test_a_stream_without_timestamps_has_no_times() -> None:
    assert seconds([(None, None), (None, None)]) == [None, None]
