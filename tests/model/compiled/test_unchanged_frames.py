"""While a stream's frames stay the same, only the end of the network is computed, with the same scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.compiled.runtime import StepRuntime
from model.compiled.slots import BatchSlots
from model.detector import Detector
from tests.support.random_networks import random_frames, random_network

SIZE, STREAMS = 32, 3
PAUSE = 80
TOLERANCE = 0.002
PAUSES = st.dictionaries(st.integers(0, 9), st.integers(0, PAUSE), max_size=3)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(random_network("cake-xs", SIZE))


def with_pauses(frames: NDArray[np.uint8], pauses: dict[int, int]) -> tuple[NDArray[np.uint8], list[bool]]:
    """The frames, those at the keys repeated so many times, and which of them equal the one before."""
    repeats = [1 + pauses.get(number, 0) for number in range(len(frames))]
    unchanged = [again > 0 for count in repeats for again in range(count)]
    return np.repeat(frames, repeats, axis=0), unchanged


def whole_steps(detector: Detector, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    stream = detector.open_stream()
    return np.stack([detector.push([stream], frame[None])[0] for frame in frames])


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(pauses=st.lists(PAUSES, min_size=STREAMS, max_size=STREAMS))
def test_streams_get_the_scores_of_whole_steps_while_and_after_their_frames_stay_the_same(
    detector: Detector, pauses: list[dict[int, int]]
) -> None:
    videos = [with_pauses(frames, each) for frames, each in zip(random_frames(STREAMS, 10, SIZE), pauses, strict=True)]
    expected = [whole_steps(detector, frames) for frames, _ in videos]
    streams = [detector.open_stream() for _ in videos]
    for at in range(max(len(frames) for frames, _ in videos)):
        pushed = [number for number, (frames, _) in enumerate(videos) if at < len(frames)]
        images = np.stack([videos[number][0][at] for number in pushed])
        scores = detector.push([streams[n] for n in pushed], images, [videos[n][1][at] for n in pushed])
        np.testing.assert_allclose(scores, [expected[n][at] for n in pushed], atol=TOLERANCE)


def test_whole_steps_end_soon_after_a_scene_became_still_and_resume_with_the_next_change(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: list[int] = []
    step = StepRuntime.step

    def note(runtime: StepRuntime, slots: BatchSlots) -> NDArray[np.float32]:
        whole.append(stream.frames)
        return step(runtime, slots)

    monkeypatch.setattr(StepRuntime, "step", note)
    frames, unchanged = with_pauses(random_frames(1, 8, SIZE)[0], {3: PAUSE})
    stream = detector.open_stream()
    for frame, is_unchanged in zip(frames, unchanged, strict=True):
        detector.push([stream], frame[None], [is_unchanged])
    settled_at = next(at for at in range(len(frames)) if at not in whole)
    assert 3 + detector.config.trunk.window_steps < settled_at < 3 + PAUSE
    assert whole == [*range(settled_at), *range(3 + PAUSE + 1, len(frames))]


def test_a_stream_that_is_resumed_is_computed_in_full_until_it_has_settled_again(detector: Detector) -> None:
    frames, unchanged = with_pauses(random_frames(1, 4, SIZE)[0], {2: PAUSE})
    stream = detector.open_stream()
    for frame, is_unchanged in zip(frames[: PAUSE // 2], unchanged, strict=False):
        detector.push([stream], frame[None], [is_unchanged])
    resumed = detector.open_stream(stream.save())
    for frame, is_unchanged in zip(frames[PAUSE // 2 :], unchanged[PAUSE // 2 :], strict=True):
        np.testing.assert_allclose(
            detector.push([resumed], frame[None], [is_unchanged]),
            detector.push([stream], frame[None], [is_unchanged]),
            atol=TOLERANCE,
        )
