"""Streams share batches in any combination and order, and each gets the scores it would get alone."""

import gc
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.compiled.groups import SLOTS_PER_STREAM
from model.compiled.runtime import StepRuntime
from model.compiled.slots import BatchSlots
from model.detector import Detector, Stream
from tests.support.random_networks import random_frames, random_network

STREAMS, FRAMES, SIZE = 11, 12, 32


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(random_network("cake-xs", SIZE))


@pytest.fixture(scope="module")
def frames() -> NDArray[np.uint8]:
    return random_frames(STREAMS, FRAMES, SIZE)


@pytest.fixture(scope="module")
def alone(detector: Detector, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(stream, frame, label)"""
    streams = [detector.open_stream() for _ in range(STREAMS)]
    return np.stack([[detector.push([s], f[None])[0] for f in fs] for s, fs in zip(streams, frames, strict=True)])


companies = st.lists(st.permutations(range(STREAMS)).flatmap(lambda p: st.integers(1, STREAMS).map(lambda n: p[:n])))


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(companies=companies, saved=st.sets(st.integers(0, 40)))
def test_a_stream_gets_the_same_scores_in_any_batch(
    detector: Detector,
    frames: NDArray[np.uint8],
    alone: NDArray[np.float32],
    companies: list[list[int]],
    saved: set[int],
) -> None:
    streams = [detector.open_stream() for _ in range(STREAMS)]
    for turn, company in enumerate(companies):
        pushed = [i for i in company if streams[i].frames < FRAMES]
        if not pushed:
            continue
        at = [streams[i].frames for i in pushed]
        scores = detector.push([streams[i] for i in pushed], frames[pushed, at])
        np.testing.assert_allclose(scores, alone[pushed, at], atol=1e-5)
        if turn in saved:
            streams[pushed[0]] = detector.open_stream(streams[pushed[0]].save())
    assert [s.frames for s in streams] == [min(FRAMES, sum(i in c for c in companies)) for i in range(STREAMS)]


def test_a_push_that_fails_half_way_moves_no_stream_on(
    detector: Detector, frames: NDArray[np.uint8], alone: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = [detector.open_stream() for _ in range(9)]
    detector.push(streams, frames[:9, 0])
    step = StepRuntime.step

    def fail_for_one(runtime: StepRuntime, slots: BatchSlots) -> NDArray[np.float32]:
        if slots.size == 1:
            raise RuntimeError("out of memory")
        return step(runtime, slots)

    with monkeypatch.context() as patch:
        patch.setattr(StepRuntime, "step", fail_for_one)
        with pytest.raises(RuntimeError, match="out of memory"):
            detector.push(streams, frames[:9, 1])
    assert {s.frames for s in streams} == {1}
    for stream, its_frames, expected in zip(streams, frames, alone, strict=False):
        np.testing.assert_allclose(detector.push([stream], its_frames[1:2])[0], expected[1], atol=1e-5)


@pytest.mark.parametrize("at_a_time", [1, pytest.param(STREAMS, marks=pytest.mark.slow)])
def test_streams_that_open_and_close_leave_no_memory_behind(frames: NDArray[np.uint8], at_a_time: int) -> None:
    detector = Detector(random_network("cake-xs", SIZE))
    # Where a stream is kept, a place of each memory waits for the next value, and its frame lies next to it.
    lane_bytes = 2 * len(detector.open_stream().save())

    def come_and_go(rounds: int) -> int:
        rng = np.random.default_rng(rounds)
        for _ in range(rounds):
            streams: list[Stream] = []
            for at in range(FRAMES):
                streams = [*streams, detector.open_stream()][-at_a_time:]
                company = rng.permutation(len(streams))[: rng.integers(1, len(streams) + 1)]
                detector.push([streams[i] for i in company], frames[company, at])
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        # Each of those that are there at a time may have a slot alone in addition to its share of the room.
        assert come_and_go(15) < (SLOTS_PER_STREAM + 1) * at_a_time * lane_bytes
    finally:
        tracemalloc.stop()
