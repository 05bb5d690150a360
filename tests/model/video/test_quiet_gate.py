"""Which packets are kept, given made-up sizes, quantisers and images."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.video.expected_packets import CodedPacket
from model.video.quiet_gate import (
    DOUBT_S,
    HOLD_S,
    LOOK_EVERY_S,
    MOVING_LEVELS,
    STILL_LEVELS,
    QuietGate,
    largest_change,
)

RATE_HZ = 10.0
STILL_BYTES, MOVING_BYTES, QUANTISER = 100, 1000, 26


class Camera:
    """Sends a frame for each tenth of a second to a gate; each is shown to it, again if its packet was kept."""

    def __init__(self) -> None:
        self.gate = QuietGate()
        self.now_s = 0.0
        self._image = np.full((32, 32, 3), 100, np.uint8)
        self._shown: tuple[NDArray[np.uint8], ...] = (self._image,)

    def send(
        self, size_bytes: int, *, moves: bool = False, may_keep: bool = True, quantiser: int | None = QUANTISER
    ) -> bool:
        """Returns whether the packet was kept."""
        self.now_s = round(self.now_s + 1 / RATE_HZ, 3)
        self._image = self._image + np.uint8(50 * moves)
        packet = CodedPacket(size_bytes, quantiser, position=1) if self.gate.needs_packet else None
        is_kept = self.gate.keeps(packet, self.now_s, may_keep=may_keep)
        if not is_kept:
            self._shown = (self._image,)
        self.gate.see(self._shown)
        return is_kept

    def send_keyframe(self, *, moves: bool = False) -> None:
        """It is always decoded."""
        self.now_s = round(self.now_s + 1 / RATE_HZ, 3)
        self._image = self._image + np.uint8(50 * moves)
        self._shown = (self._image,)
        self.gate.see(self._shown)

    def learn(self, moving_bytes: int = MOVING_BYTES, moving_quantiser: int | None = QUANTISER) -> None:
        """Three motions, and then enough stillness for packets to be kept."""
        for _ in range(3):
            for _ in range(100):
                self.send(STILL_BYTES, quantiser=moving_quantiser and QUANTISER)
            for _ in range(10):
                self.send(moving_bytes, moves=True, quantiser=moving_quantiser)
        for _ in range(100):
            self.send(STILL_BYTES, quantiser=moving_quantiser and QUANTISER)


@pytest.fixture
def camera() -> Camera:
    camera = Camera()
    camera.learn()
    return camera


def test_a_packet_that_is_large_enough_for_motion_is_decoded_and_those_that_follow(camera: Camera) -> None:
    assert camera.gate.decoding == "on_motion"
    assert camera.send(STILL_BYTES)
    assert not camera.send(2 * MOVING_BYTES)
    kept = [camera.send(STILL_BYTES) for _ in range(round((DOUBT_S + 1) * RATE_HZ))]
    assert not any(kept[: round((DOUBT_S - 0.3) * RATE_HZ)])
    assert kept[-1]


def test_frames_that_show_motion_are_followed_for_longer(camera: Camera) -> None:
    camera.send(2 * MOVING_BYTES, moves=True)
    kept = [camera.send(STILL_BYTES) for _ in range(round((HOLD_S + 1) * RATE_HZ))]
    assert not any(kept[: round((HOLD_S - 0.3) * RATE_HZ)])
    assert kept[-1]


def test_motion_that_is_quantised_more_coarsely_at_the_same_size_is_noticed() -> None:
    camera = Camera()
    camera.learn(moving_bytes=STILL_BYTES, moving_quantiser=QUANTISER + 6)
    assert camera.gate.decoding == "on_motion"
    assert camera.send(STILL_BYTES)
    assert not camera.send(STILL_BYTES, quantiser=QUANTISER + 6)


def test_a_stream_without_readable_quantisers_is_judged_by_sizes() -> None:
    camera = Camera()
    camera.learn(moving_quantiser=None)
    assert camera.send(STILL_BYTES, quantiser=None)
    assert not camera.send(MOVING_BYTES, quantiser=None)


def test_motion_that_lasts_is_decoded_until_it_ends_however_small_its_packets(camera: Camera) -> None:
    camera.send(2 * MOVING_BYTES, moves=True)
    assert not any(camera.send(STILL_BYTES, moves=True) for _ in range(200))


def test_packets_are_not_examined_while_motion_lasts(camera: Camera) -> None:
    assert camera.gate.needs_packet
    for _ in range(300):
        camera.send(MOVING_BYTES, moves=True)
    assert not camera.gate.needs_packet
    assert not camera.send(0, moves=True)
    camera.send(STILL_BYTES)
    assert camera.gate.needs_packet


def test_a_camera_whose_motion_ended_becomes_quiet_again(camera: Camera) -> None:
    for _ in range(300):
        camera.send(MOVING_BYTES, moves=True)
    kept = [camera.send(STILL_BYTES) for _ in range(round((HOLD_S + 1) * RATE_HZ))]
    assert kept[-1]
    assert camera.gate.decoding == "on_motion"


def test_a_still_camera_is_looked_at_once_a_minute(camera: Camera) -> None:
    kept = [camera.send(STILL_BYTES) for _ in range(round(10 * LOOK_EVERY_S * RATE_HZ))]
    assert 0.9 < sum(kept) / len(kept) < 1 - 0.5 * HOLD_S / LOOK_EVERY_S


def test_a_keyframe_that_shows_unnoticed_motion_is_a_miss_and_ends_the_quiet(camera: Camera) -> None:
    assert camera.send(STILL_BYTES)
    camera.send_keyframe(moves=True)
    assert not any(camera.send(STILL_BYTES) for _ in range(100))
    assert camera.gate.misses == 1
    assert camera.gate.decoding == "no_signal"


def test_motion_that_begins_with_a_keyframe_is_not_a_miss(camera: Camera) -> None:
    assert camera.send(STILL_BYTES)
    camera.send_keyframe(moves=True)
    assert not any(camera.send(MOVING_BYTES, moves=True) for _ in range(10))
    assert camera.gate.misses == 0
    assert camera.gate.decoding == "on_motion"


def test_a_keyframe_of_an_unchanged_room_leaves_everything_quiet(camera: Camera) -> None:
    for _ in range(5):
        assert camera.send(STILL_BYTES)
        camera.send_keyframe()
    assert camera.send(STILL_BYTES)


def test_packets_that_may_not_be_kept_are_not(camera: Camera) -> None:
    assert not camera.send(STILL_BYTES, may_keep=False)
    assert camera.send(STILL_BYTES)


def test_a_clock_that_goes_back_does_not_end_the_quiet_for_good(camera: Camera) -> None:
    camera.send(2 * MOVING_BYTES)
    camera.now_s -= 30.0
    kept = [camera.send(STILL_BYTES) for _ in range(100)]
    assert kept[-1]


def test_changes_while_packets_were_left_out_teach_nothing_about_sizes(camera: Camera) -> None:
    for _ in range(5):
        camera.gate.interrupt()
        camera.send_keyframe(moves=True)
        for _ in range(50):
            camera.send(STILL_BYTES)
    assert camera.gate.decoding == "on_motion"
    assert camera.gate.misses == 0


def test_a_stream_that_is_coded_differently_is_learnt_again(camera: Camera) -> None:
    camera.gate.restart()
    assert camera.gate.decoding == "learning"
    assert not camera.send(STILL_BYTES)


def test_sizes_that_do_not_depend_on_motion_are_not_a_signal() -> None:
    camera = Camera()
    camera.learn(moving_bytes=STILL_BYTES)
    assert camera.gate.decoding == "no_signal"
    assert not camera.send(STILL_BYTES)


def test_a_change_counts_by_the_square_that_differs_most() -> None:
    before = np.zeros((30, 30, 3), np.uint8)
    after = before.copy()
    after[8:16, 16:24] = 2 * MOVING_LEVELS
    assert largest_change(before, after) == pytest.approx(2 * MOVING_LEVELS)
    assert largest_change(after, before) == pytest.approx(2 * MOVING_LEVELS)
    assert largest_change(after, after) == 0


def test_the_image_that_is_shown_follows_light_that_changes_slowly() -> None:
    gate = QuietGate()
    images = [(np.full((32, 32, 3), 100 + number // 4, np.uint8),) for number in range(40)]
    shown = [gate.see(image) for image in images]
    assert len({id(one) for one in shown}) < len(shown) / 4
    assert max(largest_change(ours[0], its[0]) for ours, its in zip(shown, images, strict=True)) <= STILL_LEVELS


def test_all_regions_are_shown_again_when_one_changes() -> None:
    gate = QuietGate()
    still, moved = np.full((32, 32, 3), 100, np.uint8), np.full((32, 32, 3), 150, np.uint8)
    first, second = (still, still), (still.copy(), moved)
    assert gate.see(first) is first
    assert gate.see((still.copy(), still.copy())) is first
    assert gate.see(second) is second


def test_after_an_interruption_the_next_image_is_compared_with_the_one_shown_before_it() -> None:
    gate = QuietGate()
    first, second = (np.full((32, 32, 3), 100, np.uint8),), (np.full((32, 32, 3), 150, np.uint8),)
    gate.see(first)
    gate.interrupt()
    assert gate.see(second) is second
