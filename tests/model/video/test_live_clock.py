"""For any timestamps of a camera, media time grows with wall-clock time and never runs ahead of it."""

import math
from itertools import accumulate, pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.video.live_clock import JUMP_S, TOGETHER_S, LiveClock, Moment
from model.video.media_time import slot

WAITS_S = st.floats(0.0, 20.0)
STAMPS_S = st.none() | st.floats(-1e6, 1e6) | st.sampled_from([0.0, 0.04, 0.08])


def moments(
    frames: list[tuple[float | None, float]], zero_s: float | None = None, after_s: float | None = None
) -> list[Moment | None]:
    clock = LiveClock(zero_s, after_s)
    return [clock.moment(pts_s, arrived_s) for pts_s, arrived_s in frames]


def media(found: list[Moment | None]) -> list[float]:
    return [moment.media_s for moment in found if moment is not None]


def regular(
    count: int, *, rate_hz: float = 10.0, pts_s: float = 500.0, arrived_s: float = 50.0
) -> list[tuple[float | None, float]]:
    return [(pts_s + i / rate_hz, arrived_s + i / rate_hz) for i in range(count)]


@given(
    stamps=st.lists(st.tuples(STAMPS_S, WAITS_S), min_size=1, max_size=40),
    zero_s=st.none() | st.floats(-1e5, 100.0),
    after_s=st.none() | st.floats(0.0, 1e5),
)
def test_media_time_grows_never_runs_ahead_and_never_stalls(
    stamps: list[tuple[float | None, float]], zero_s: float | None, after_s: float | None
) -> None:
    arrivals_s = list(accumulate((wait_s for _, wait_s in stamps), initial=100.0))[1:]
    found = moments([(pts_s, at_s) for (pts_s, _), at_s in zip(stamps, arrivals_s, strict=True)], zero_s, after_s)
    start_s = min(arrivals_s[0] - (after_s or 0.0), math.inf if zero_s is None else zero_s)
    newest_s = -1.0 if after_s is None else after_s
    before: tuple[float | None, float] = None, 0.0
    for moment, arrived_s, (pts_s, _) in zip(found, arrivals_s, stamps, strict=True):
        now_s, is_other_part = arrived_s - start_s, pts_s == before[0] and arrived_s - before[1] < TOGETHER_S
        before = pts_s, arrived_s
        if moment is None:
            assert is_other_part or now_s <= newest_s
            continue
        assert moment.media_s > newest_s
        assert moment.media_s <= now_s
        assert 0 <= moment.late_s <= JUMP_S + 1e-6
        newest_s = moment.media_s


def test_a_frame_that_comes_in_two_parts_counts_once_and_moves_no_other() -> None:
    [first, second, *later] = regular(6)
    whole, cut = moments([first, second, *later]), moments([first, second, (second[0], second[1] + 0.003), *later])
    assert cut[2] is None
    assert [*cut[:2], *cut[3:]] == whole


def test_the_second_part_of_a_frame_may_be_read_after_an_idle_wait() -> None:
    clock = LiveClock(None, None)
    [first, second, third] = regular(3)
    assert clock.moment(*first) is not None
    assert clock.moment(*second) is not None
    assert clock.moment(second[0], second[1] + 0.09, rested_s=0.09) is None
    moment = clock.moment(*third)
    assert moment is not None
    assert moment.media_s == pytest.approx(0.2, abs=0.001)


def test_the_first_frame_is_zero_and_the_others_keep_the_distances_of_their_timestamps() -> None:
    jitter_s = [0.0, 0.05, 0.02, 0.08, 0.0, 0.03]
    frames = [(pts_s, at_s + late_s) for (pts_s, at_s), late_s in zip(regular(6), jitter_s, strict=True)]
    found = moments(frames)
    assert media(found) == pytest.approx([i / 10 for i in range(6)], abs=0.001)
    assert [m.late_s for m in found if m] == pytest.approx(jitter_s, abs=0.001)


def test_frames_queued_before_the_first_collapse_and_later_ones_are_on_time() -> None:
    queued = [(pts_s, 52.0 + i * 0.001) for i, (pts_s, _) in enumerate(regular(20))]
    fresh = [(pts_s, at_s + 0.02) for pts_s, at_s in regular(40)[20:]]
    found = media(moments([*queued, *fresh]))
    assert found[19] < 0.1
    assert [b - a for a, b in pairwise(found[20:])] == pytest.approx([0.1] * 19, abs=0.001)


def test_a_burst_after_a_short_stall_keeps_its_own_times() -> None:
    frames = regular(40)
    held_up = [(pts_s, max(at_s, 53.0)) if at_s > 51.5 else (pts_s, at_s) for pts_s, at_s in frames]
    assert media(moments(held_up)) == pytest.approx([i / 10 for i in range(40)], abs=0.01)


@pytest.mark.parametrize("jump_s", [-400.0, 3600.0, 26 * 3600.0])
def test_a_jump_of_the_timestamps_is_reported_and_does_not_move_media_time(jump_s: float) -> None:
    before, after = regular(20)[:10], regular(20)[10:]
    found = moments([*before, *((pts_s + jump_s, at_s) for pts_s, at_s in after if pts_s is not None)])
    assert media(found) == pytest.approx([i / 10 for i in range(20)], abs=0.001)
    assert [i for i, moment in enumerate(found) if moment and moment.is_new_timeline] == [10]


@pytest.mark.parametrize("stamp", [None, 7.0])
def test_timestamps_that_are_missing_or_stand_still_leave_the_arrivals(stamp: float | None) -> None:
    found = moments([(stamp, at_s) for _, at_s in regular(60)])
    assert media(found) == pytest.approx([i / 10 for i in range(60)], abs=0.001)


@pytest.mark.parametrize("drift", [-5e-4, 5e-4])
def test_a_camera_whose_clock_runs_wrong_does_not_fall_behind(drift: float) -> None:
    found = moments([(i * (1 + drift), float(i)) for i in range(36_000)])
    assert all(moment is not None and moment.late_s < 0.01 for moment in found)
    assert not any(moment is not None and moment.is_new_timeline for moment in found)


def test_a_later_connection_continues_at_wall_clock_time() -> None:
    assert media(moments(regular(3, arrived_s=160.0), zero_s=100.0, after_s=20.0)) == pytest.approx([60.0, 60.1, 60.2])


def test_after_a_clock_that_was_set_back_time_continues_right_after_the_last_frame() -> None:
    found = media(moments(regular(5, arrived_s=160.0), zero_s=145.0, after_s=20.0))
    assert found == pytest.approx([20.1, 20.2, 20.3, 20.4])


def test_segments_that_arrive_early_are_held_back_until_their_time() -> None:
    clock = LiveClock(None, None)
    assert clock.early_s(0.0, 50.0) == 0.0
    clock.moment(0.0, 50.0)
    assert clock.early_s(0.5, 50.1) == pytest.approx(0.4, abs=0.001)
    assert clock.early_s(0.5, 50.6) == 0.0
    assert clock.early_s(1000.0, 50.6) == 0.0
    assert clock.early_s(None, 50.6) == 0.0


def test_a_stream_that_is_later_as_a_whole_can_be_accepted() -> None:
    clock = LiveClock(None, None)
    clock.moment(0.0, 50.0)
    late = clock.moment(1.0, 53.5)
    assert late is not None
    assert late.late_s == pytest.approx(2.5, abs=0.01)
    clock.restart()
    restarted = clock.moment(1.1, 53.6)
    assert restarted is not None
    assert restarted.late_s == 0.0
    assert restarted.media_s == pytest.approx(3.6)


@pytest.mark.parametrize("speed", [0.84, 0.5, 8000 / 90_000, 1.0, 1.2, 30.0])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_media_time_follows_the_wall_clock_however_fast_a_cameras_clock_runs(speed: float, seed: int) -> None:
    """25 frames a second for 40 s, which take up to 30 ms longer than the quickest; all of them are waited for."""
    clock, chance = LiveClock(None, None), Random(seed)
    timed: list[tuple[float, Moment]] = []
    for number in range(1000):
        made_s = number / 25
        arrived_s = 500.0 + made_s + chance.uniform(0.0, 0.03)
        moment = clock.moment(made_s * speed, arrived_s, was_awaited=True)
        if moment is not None:
            timed.append((made_s, moment))
    settled = [(made_s, moment) for made_s, moment in timed if made_s > 4.0]
    assert not any(moment.is_new_timeline for _, moment in timed)
    assert all(abs(moment.media_s - made_s) < 0.35 for made_s, moment in settled)
    slots = {slot(moment.media_s, 10.0) for _, moment in settled}
    assert len(slots) > 0.9 * 36 * 10
    assert max(after - before for before, after in pairwise(sorted(slots))) <= 4


def test_a_decoder_that_falls_behind_does_not_take_that_for_the_cameras_clock() -> None:
    clock = LiveClock(None, None)
    late_s = [clock.moment(n / 25, 500.0 + n / 20) for n in range(50)]
    assert [round(m.late_s, 2) for m in late_s if m is not None][-1] == pytest.approx(49 / 20 - 49 / 25, abs=0.02)
