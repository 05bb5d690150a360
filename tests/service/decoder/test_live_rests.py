"""A decoder that sleeps between the frames that it wants misses none of them, and delays none."""

import random
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from model.video.live_clock import LiveClock
from model.video.live_timing import LiveTiming
from model.video.media_time import slot

SAMPLE_HZ = 10.0
BEGAN_S = 1000.0
JITTER_S, DECODE_S = 0.004, 0.006


@dataclass
class Followed:
    """The record of a decoder that followed a camera."""

    wakes: int = 0
    waited_s: list[float] = field(default_factory=list)
    """How long each image that was taken had been there."""
    late_s: float = 0.0


def follow(*, rate_hz: float, drift: float, duration_s: float, phase_s: float = 0.0, rests: bool = True) -> Followed:
    """A camera whose clock is off by `drift`, and whose images come up to JITTER_S late."""
    timing, seen, chance = LiveTiming(LiveClock(None, None)), Followed(), random.Random(0)
    now_s, taken, work_s = BEGAN_S, -1, 0.0
    for number in range(round(duration_s * rate_hz)):
        made_s = 0.0 if number == 0 else phase_s + number / rate_hz
        came_s = BEGAN_S + made_s * (1 + drift) + chance.uniform(0, JITTER_S)
        seen.wakes += came_s > now_s
        now_s = max(now_s, came_s)
        media_s = timing.media_s(made_s, now_s, comes_in_pieces=False)
        now_s, work_s = now_s + DECODE_S, work_s + DECODE_S
        if media_s is None or slot(media_s, SAMPLE_HZ) == taken:
            continue
        taken = slot(media_s, SAMPLE_HZ)
        seen.waited_s.append(now_s - DECODE_S - came_s)
        seen.late_s = timing.late_s
        if rests and (rest_s := timing.rest_s((taken + 1) / SAMPLE_HZ, now_s, work_s)) > 0:
            now_s, seen.wakes = now_s + rest_s, seen.wakes + 1
        work_s = 0.0
    return seen


@given(
    rate_hz=st.floats(5.0, 60.0),
    drift=st.floats(-3e-4, 3e-4),
    phase_s=st.floats(0.0, 0.1),
)
def test_frames_that_are_wanted_are_read_when_they_arrive(rate_hz: float, drift: float, phase_s: float) -> None:
    seen = follow(rate_hz=rate_hz, drift=drift, phase_s=phase_s, duration_s=120.0)
    undisturbed = follow(rate_hz=rate_hz, drift=drift, phase_s=phase_s, duration_s=120.0, rests=False)
    assert abs(len(seen.waited_s) - len(undisturbed.waited_s)) <= 0.02 * len(undisturbed.waited_s)
    waited_s = sorted(seen.waited_s)
    assert waited_s[len(waited_s) * 95 // 100] < 0.01
    assert seen.late_s < 0.02


def test_a_camera_of_30_hz_wakes_its_decoder_little_more_than_once_for_each_frame() -> None:
    seen = follow(rate_hz=30.0, drift=0.0, phase_s=0.017, duration_s=60.0)
    assert seen.wakes < 1.6 * len(seen.waited_s)
    assert follow(rate_hz=30.0, drift=0.0, phase_s=0.017, duration_s=60.0, rests=False).wakes == 1800
