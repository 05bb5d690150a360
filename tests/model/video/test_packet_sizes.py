"""Packets reveal motion only if they did so while frames were decoded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.video.expected_packets import Deviation
from model.video.packet_sizes import LEAST_STILL, REMEMBERED_ONSETS, REMEMBERED_STILL, Decoding, PacketSizes

FACTORS = st.floats(-2, 5)
FRAMES = st.lists(st.tuples(FACTORS, st.booleans(), st.booleans()), max_size=400)
"""Deviations of size, whether something moves, and whether the packet is kept."""


def learn(sizes: PacketSizes, spread: Deviation, onset: Deviation, *, onsets: int = 3) -> None:
    """Still frames that deviate by up to `spread` in either direction, with motion in between."""
    for _ in range(onsets):
        for number in range(LEAST_STILL):
            # Neither depends on the other.
            size, quantiser = number % 20 / 9.5 - 1, number // 20 / 4.5 - 1
            deviation = Deviation(spread.size * size, spread.quantiser * quantiser)
            assert sizes.add_decoded(deviation, is_moving=False) is None
        for _ in range(20):
            sizes.add_decoded(onset, is_moving=True)
    for _ in range(20):
        sizes.add_decoded(Deviation(0.0, 0.0), is_moving=False)


@given(factor=st.floats(2, 100), spread=st.floats(0.05, 0.3))
def test_the_threshold_lies_between_still_frames_and_motion(factor: float, spread: float) -> None:
    sizes = PacketSizes()
    learn(sizes, Deviation(spread, 0.0), Deviation(factor * spread, 0.0))
    assert sizes.decoding == "on_motion"
    assert sizes.threshold is not None
    assert sizes.score(Deviation(spread, 0.0)) < sizes.threshold < sizes.score(Deviation(factor * spread, 0.0))


def test_the_fewer_onsets_are_known_the_closer_the_threshold_is_to_stillness() -> None:
    thresholds: list[float] = []
    for onsets in (1, 2, 3):
        sizes = PacketSizes()
        learn(sizes, Deviation(0.1, 1.0), Deviation(2.0, 2.0), onsets=onsets)
        assert sizes.threshold is not None
        thresholds.append(sizes.threshold)
    assert thresholds == sorted(thresholds)


def test_a_coarser_quantiser_reveals_motion_that_sizes_do_not() -> None:
    sizes = PacketSizes()
    learn(sizes, Deviation(0.1, 0.5), Deviation(0.0, 3.0))
    assert sizes.threshold is not None
    assert sizes.score(Deviation(0.0, 3.0)) > sizes.threshold > sizes.score(Deviation(0.1, 0.5))


@given(size=st.floats(-2, 0.5), quantiser=st.floats(-2, 0.5))
def test_packets_that_do_not_differ_with_motion_are_useless(size: float, quantiser: float) -> None:
    sizes = PacketSizes()
    learn(sizes, Deviation(1.0, 1.0), Deviation(size, quantiser))
    assert sizes.decoding == "no_signal"
    assert sizes.threshold is None


def test_nothing_is_known_before_motion_was_seen() -> None:
    sizes = PacketSizes()
    learn(sizes, Deviation(0.1, 1.0), Deviation(2.0, 2.0), onsets=0)
    for _ in range(LEAST_STILL):
        sizes.add_decoded(Deviation(0.0, 0.0), is_moving=False)
    assert sizes.decoding == "learning"
    assert sizes.threshold is None


@given(FRAMES)
def test_no_onset_of_motion_counts_as_stillness(frames: list[tuple[float, bool, bool]]) -> None:
    sizes, begun = PacketSizes(), list[float]()
    learn(sizes, Deviation(0.5, 1.0), Deviation(2.0, 2.0))
    for size, is_moving, is_kept in frames:
        if is_kept:
            sizes.add_kept(Deviation(size, 0.0))
        elif sizes.add_decoded(Deviation(size, 0.0), is_moving=is_moving) is not None:
            begun.append(size)
            if sizes.threshold is not None:
                # Each onset was at least as large as its last frame.
                latest = [sizes.score(Deviation(size, 0.0)) for size in begun[-REMEMBERED_ONSETS:]]
                assert sizes.threshold < max(latest[-1], sizes.score(Deviation(2.0, 2.0)))


def test_a_missed_onset_lowers_the_threshold() -> None:
    sizes = PacketSizes()
    learn(sizes, Deviation(0.1, 1.0), Deviation(2.0, 0.0))
    before = sizes.threshold
    missed = Deviation(0.5, 0.0)
    assert before is not None
    assert sizes.score(missed) < before
    for _ in range(3):
        sizes.add_decoded(missed, is_moving=True, follows_kept=True)
    assert sizes.threshold is not None
    assert sizes.threshold < sizes.score(missed)


@given(st.lists(FACTORS, max_size=2 * REMEMBERED_STILL))
def test_packets_that_nobody_looked_at_raise_no_threshold(kept: list[float]) -> None:
    sizes = PacketSizes()
    learn(sizes, Deviation(0.5, 1.0), Deviation(3.0, 0.0))
    largest, onset = Deviation(0.5, 0.0), Deviation(3.0, 0.0)
    for size in kept:
        sizes.add_kept(Deviation(size, 0.0))
        if sizes.threshold is not None:
            midway = Deviation((largest.size + onset.size) / 2, 0.0)
            assert sizes.threshold < sizes.score(midway)


@pytest.mark.parametrize(("strong", "decoding"), [(1, "no_signal"), (REMEMBERED_ONSETS, "on_motion")])
def test_one_weak_onset_is_forgotten_after_ten_strong_ones(strong: int, decoding: Decoding) -> None:
    sizes = PacketSizes()
    learn(sizes, Deviation(0.1, 1.0), Deviation(-0.1, 0.0), onsets=1)
    learn(sizes, Deviation(0.1, 1.0), Deviation(2.0, 0.0), onsets=strong)
    assert sizes.decoding == decoding
