"""Frames of a file in real time are due when a camera would have sent them; the tests pass the time in."""

import pytest

from service.decoder.pace import Pace
from service.decoder.protocol import ALIVE_EVERY_S


class FakeTime:
    """A clock that only sleeping and work move."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.alive_s: list[float] = []

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s

    def pace(self, *, realtime: bool = True, replay_until_s: float | None = None) -> Pace:
        return Pace(
            realtime=realtime,
            replay_until_s=replay_until_s,
            send_alive=self.alive_s.append,
            clock=lambda: self.now_s,
            sleep=self.sleep,
        )


def test_a_fast_session_never_waits() -> None:
    fake = FakeTime()
    pace = fake.pace(realtime=False)
    for pts_s in (0.0, 60.0, 3600.0):
        pace.wait(pts_s)
    assert (fake.now_s, pace.waited_s, pace.late_s) == (1000.0, 0.0, 0.0)


def test_each_frame_is_due_at_its_distance_from_the_first() -> None:
    fake = FakeTime()
    pace = fake.pace()
    pace.wait(5.0)
    fake.now_s += 0.03
    pace.wait(5.1)
    assert fake.now_s == pytest.approx(1000.1)
    assert pace.waited_s == pytest.approx(0.07)


def test_a_frame_that_was_decoded_too_late_is_late_and_the_next_ones_catch_up() -> None:
    fake = FakeTime()
    pace = fake.pace()
    pace.wait(0.0)
    fake.now_s += 0.5
    pace.wait(0.1)
    assert pace.late_s == pytest.approx(0.4)
    pace.wait(0.6)
    assert fake.now_s == pytest.approx(1000.6)
    assert pace.late_s == pytest.approx(0.0)


def test_replayed_frames_are_not_waited_for_and_the_first_new_one_sets_the_pace() -> None:
    fake = FakeTime()
    pace = fake.pace(replay_until_s=13.0)
    for tenth in range(131):
        pace.wait(tenth / 10)
    assert fake.now_s == 1000.0
    pace.wait(13.1)
    pace.wait(13.2)
    assert fake.now_s == pytest.approx(1000.1)


def test_signs_of_life_continue_while_a_frame_is_waited_for() -> None:
    fake = FakeTime()
    pace = fake.pace()
    pace.wait(0.0)
    pace.wait(5.5)
    assert fake.now_s == pytest.approx(1005.5)
    assert all(after - before <= ALIVE_EVERY_S for before, after in zip(fake.alive_s, fake.alive_s[1:], strict=False))
