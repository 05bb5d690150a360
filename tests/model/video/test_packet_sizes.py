"""The sizes of packets tell motion only where they did while frames were decoded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.video.packet_sizes import (
    LEAST_ONSETS,
    LEAST_STILL,
    REMEMBERED_ONSETS,
    REMEMBERED_STILL,
    SHARE_OF_DISTANCE,
    Decoding,
    PacketSizes,
)

SIZES = st.floats(1, 1e6)
FRAMES = st.lists(st.tuples(SIZES, st.booleans(), st.booleans()), max_size=400)
"""Sizes, whether something moves, and whether the packet is kept."""


def learn(sizes: PacketSizes, still_bytes: float, onset_bytes: float, *, onsets: int = LEAST_ONSETS) -> None:
    """Still frames of up to `still_bytes`, with motion in between."""
    for _ in range(onsets):
        for number in range(LEAST_STILL):
            sizes.add_decoded(still_bytes * (0.5 + 0.5 * number / (LEAST_STILL - 1)), is_moving=False)
        for _ in range(20):
            sizes.add_decoded(onset_bytes, is_moving=True)
    for _ in range(20):
        sizes.add_decoded(still_bytes / 2, is_moving=False)


@given(still_bytes=SIZES, factor=st.floats(1.5, 100))
def test_the_threshold_lies_between_the_sizes_of_still_frames_and_of_motion(still_bytes: float, factor: float) -> None:
    sizes = PacketSizes()
    learn(sizes, still_bytes, factor * still_bytes)
    assert sizes.decoding == "on_motion"
    assert sizes.threshold_bytes is not None
    assert still_bytes < sizes.threshold_bytes < factor * still_bytes


@given(still_bytes=SIZES, factor=st.floats(0.01, 1.05))
def test_sizes_that_do_not_grow_with_motion_are_useless(still_bytes: float, factor: float) -> None:
    sizes = PacketSizes()
    learn(sizes, still_bytes, factor * still_bytes)
    assert sizes.decoding == "no_signal"
    assert sizes.threshold_bytes is None


def test_nothing_is_known_before_motion_was_seen_three_times() -> None:
    sizes = PacketSizes()
    learn(sizes, 100, 1000, onsets=LEAST_ONSETS - 1)
    assert sizes.decoding == "learning"
    assert sizes.threshold_bytes is None


@given(FRAMES)
def test_no_size_that_motion_once_began_with_is_taken_for_stillness(frames: list[tuple[float, bool, bool]]) -> None:
    sizes, begun = PacketSizes(), list[float]()
    learn(sizes, 1000, 5000)
    for size_bytes, is_moving, is_kept in frames:
        if is_kept:
            sizes.add_kept(size_bytes)
        elif (onset := sizes.add_decoded(size_bytes, is_moving=is_moving)) is not None:
            begun.append(onset)
        if sizes.threshold_bytes is not None:
            assert all(sizes.threshold_bytes < onset for onset in begun[-REMEMBERED_ONSETS:])


@given(st.lists(SIZES, max_size=2 * REMEMBERED_STILL))
def test_packets_that_nobody_looked_at_raise_no_threshold_above_what_was_seen(kept: list[float]) -> None:
    sizes = PacketSizes()
    learn(sizes, 1000, 5000)
    for size_bytes in kept:
        sizes.add_kept(size_bytes)
        assert sizes.threshold_bytes is None or sizes.threshold_bytes <= 1000 + SHARE_OF_DISTANCE * (5000 - 1000)


def test_the_threshold_follows_an_encoder_that_sends_fewer_bytes() -> None:
    sizes = PacketSizes()
    learn(sizes, 1000, 5000)
    before = sizes.threshold_bytes
    for _ in range(REMEMBERED_STILL):
        sizes.add_kept(100)
    assert before is not None
    assert sizes.threshold_bytes is not None
    assert sizes.threshold_bytes < before / 2


@pytest.mark.parametrize(("strong", "decoding"), [(1, "no_signal"), (REMEMBERED_ONSETS, "on_motion")])
def test_one_weak_onset_is_forgotten_after_ten_strong_ones(strong: int, decoding: Decoding) -> None:
    sizes = PacketSizes()
    learn(sizes, 1000, 900, onsets=LEAST_ONSETS)
    learn(sizes, 1000, 5000, onsets=strong)
    assert sizes.decoding == decoding
