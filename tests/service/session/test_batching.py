"""When a batch starts and which frames it holds; the tests pass the time in."""

import asyncio
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.detector import Detector
from model.detector import Stream as DetectorStream
from service.session.batching import (
    BRIEF_GATHER_S,
    GATHER_S,
    MAX_BATCH,
    MAX_FAST_PER_LIVE_BATCH,
    MAX_IDLE_S,
    BatchWindow,
    EngineStream,
    FrameRequest,
    Step,
)
from tests.support.tiny_model import SIZE, tiny_model

IMAGE = np.zeros((SIZE, SIZE, 3), np.uint8)


class Frame(Protocol):
    """Makes requests."""

    def __call__(self, stream: EngineStream, requested_s: float, is_unchanged: bool = False) -> FrameRequest: ...


@pytest.fixture(scope="module")
def state() -> DetectorStream:
    return Detector(tiny_model(), "v1", "tiny").open_stream()


@pytest.fixture(scope="module")
def settled() -> DetectorStream:
    """A stream of a scene that has been still for a while."""
    detector = Detector(tiny_model(), "v1", "tiny")
    stream = detector.open_stream()
    while not stream.has_settled:
        detector.push([stream], IMAGE[None], [stream.frames > 0])
    return stream


@pytest.fixture(scope="module")
def frame() -> Iterator[Frame]:
    loop = asyncio.new_event_loop()

    def of(stream: EngineStream, requested_s: float, is_unchanged: bool = False) -> FrameRequest:
        outcome: asyncio.Future[list[Step]] = loop.create_future()
        return FrameRequest(stream, [IMAGE], requested_s, outcome, [is_unchanged])

    yield of
    loop.close()


def window(state: DetectorStream, *, live: int = 0, fast: int = 0) -> tuple[BatchWindow, list[EngineStream]]:
    """An engine's window, with streams that are live or fast."""
    opened = BatchWindow()
    streams = [EngineStream("tiny", kind, state) for kind in [True] * live + [False] * fast]
    opened.streams.update(streams)
    return opened, streams


def test_the_only_stream_never_waits(state: DetectorStream, frame: Frame) -> None:
    for live in (True, False):
        opened, [stream] = window(state, live=live, fast=not live)
        opened.called(0.0, 10.0)
        opened.requests.append(frame(stream, 10.0))
        assert opened.wait_s(10.0) == 0.0


@pytest.mark.parametrize(("call_s", "idle_s"), [(0.002, 0.002), (0.1, MAX_IDLE_S)])
def test_live_frames_gather_after_a_call_for_as_long_as_it_took(
    state: DetectorStream, frame: Frame, call_s: float, idle_s: float
) -> None:
    opened, [first, second, _] = window(state, live=3)
    opened.called(10.0 - call_s, 10.0)
    opened.requests.append(frame(first, 10.0))
    assert opened.wait_s(10.0) == pytest.approx(idle_s)
    opened.requests.append(frame(second, 10.001))
    assert opened.wait_s(10.001) == pytest.approx(idle_s - 0.001)
    assert opened.wait_s(10.0 + idle_s) == 0.0
    assert [request.stream for request in opened.take()] == [first, second]


def test_a_frame_of_a_fast_stream_waits_a_moment_for_the_other_fast_streams(
    state: DetectorStream, frame: Frame
) -> None:
    opened, streams = window(state, fast=3)
    for stream in streams[:2]:
        opened.requests.append(frame(stream, 10.0))
    assert opened.wait_s(10.001) == pytest.approx(GATHER_S - 0.001)
    opened.requests.append(frame(streams[2], 10.002))
    assert opened.wait_s(10.002) == 0.0


@given(live=st.integers(0, 12), fast=st.integers(0, 12))
def test_a_batch_takes_live_frames_first_and_few_fast_ones_next_to_them(
    state: DetectorStream, frame: Frame, live: int, fast: int
) -> None:
    opened, streams = window(state, live=live, fast=fast)
    opened.requests = [frame(stream, 0.0) for stream in reversed(streams)]
    batch = opened.take()
    kinds = [request.stream.live for request in batch]
    assert kinds == sorted(kinds, reverse=True)
    assert sum(kinds) == min(live, MAX_BATCH)
    fast_limit = MAX_FAST_PER_LIVE_BATCH if live else MAX_BATCH
    assert len(batch) == min(MAX_BATCH, live + min(fast, fast_limit))
    assert len(batch) + len(opened.requests) == live + fast


def test_a_batch_holds_frames_of_one_model(state: DetectorStream, frame: Frame) -> None:
    opened = BatchWindow()
    streams = [EngineStream(model, True, state) for model in ("a", "b", "a")]
    opened.streams.update(streams)
    opened.requests = [frame(stream, 0.0) for stream in streams]
    assert [request.stream.model for request in opened.take()] == ["a", "a"]
    assert [request.stream.model for request in opened.take()] == ["b"]


def test_frames_of_still_scenes_wait_for_each_other_unless_all_are_there(settled: DetectorStream, frame: Frame) -> None:
    opened, streams = window(settled, live=3)
    for stream in streams[:2]:
        opened.requests.append(frame(stream, 10.0, is_unchanged=True))
    assert opened.wait_s(10.001) == pytest.approx(BRIEF_GATHER_S - 0.001)
    assert opened.wait_s(10.0 + BRIEF_GATHER_S) == 0.0
    opened.requests.append(frame(streams[2], 10.002, is_unchanged=True))
    assert opened.wait_s(10.002) == 0.0


def test_a_frame_that_shows_something_new_does_not_wait_for_those_of_still_scenes(
    settled: DetectorStream, frame: Frame
) -> None:
    opened, streams = window(settled, live=3)
    opened.requests = [frame(streams[0], 10.0, is_unchanged=True), frame(streams[1], 10.001)]
    assert opened.wait_s(10.001) == 0.0
    assert [request.stream for request in opened.take()] == [streams[1], streams[0]]


def test_a_scene_that_has_just_become_still_is_computed_like_any_other(state: DetectorStream, frame: Frame) -> None:
    opened, streams = window(state, live=3)
    opened.requests = [frame(streams[0], 10.0, is_unchanged=True)]
    assert opened.wait_s(10.0) == 0.0


def test_all_frames_of_still_scenes_go_into_one_batch_beside_the_others(
    settled: DetectorStream, state: DetectorStream, frame: Frame
) -> None:
    opened, still = window(settled, live=30)
    moving = [EngineStream("tiny", True, state) for _ in range(MAX_BATCH + 1)]
    opened.streams.update(moving)
    opened.requests = [frame(stream, 10.0, is_unchanged=True) for stream in still]
    opened.requests += [frame(stream, 10.0) for stream in moving]
    assert len(opened.take()) == len(still) + MAX_BATCH
    assert [request.stream for request in opened.take()] == moving[MAX_BATCH:]


def test_the_oldest_live_frame_decides_which_model_is_next(settled: DetectorStream, frame: Frame) -> None:
    opened = BatchWindow()
    still, moving = EngineStream("a", True, settled), EngineStream("b", True, settled)
    opened.streams.update([still, moving])
    opened.requests = [frame(still, 10.0, is_unchanged=True), frame(moving, 10.001)]
    assert [request.stream.model for request in opened.take()] == ["a"]
