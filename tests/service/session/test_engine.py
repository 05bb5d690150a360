"""The engine batches the steps of many sessions, and none affects another."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from model.checkpoints.checkpoint import save_checkpoint
from model.detector import Detector, Stream
from service.observability.telemetry import WorkerMetrics
from service.session.batching import MAX_FAST_PER_LIVE_BATCH, EngineStream, Step
from service.session.engine import Engine, EngineClosedError
from tests.support.tiny_model import LABELS, SIZE, load, tiny_model


class WatchedDetector:
    """A real detector that notes its batches and fails for black frames."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.config, self.version = detector.config, detector.version
        self.batches: list[int] = []

    def prepare(self, batches: Sequence[int]) -> None:
        self._detector.prepare(batches)

    def open_stream(self, saved: bytes | None = None) -> Stream:
        return self._detector.open_stream(saved)

    def push(
        self, streams: Sequence[Stream], images_BHWC: NDArray[np.uint8], unchanged_B: Sequence[bool] | None = None
    ) -> NDArray[np.float32]:
        if (images_BHWC.reshape(len(streams), -1).max(1) == 0).any():
            raise ArithmeticError("a black frame")
        self.batches.append(len(streams))
        return self._detector.push(streams, images_BHWC, unchanged_B)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny"
    save_checkpoint(path, tiny_model())
    return path


@pytest.fixture
def detector(checkpoint: Path) -> WatchedDetector:
    return WatchedDetector(load(checkpoint))


@pytest.fixture
async def engine(detector: WatchedDetector) -> AsyncIterator[Engine]:
    async with Engine({"tiny": detector}, WorkerMetrics(CollectorRegistry())) as running:
        yield running


def images(count: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(1, 256, (count, SIZE, SIZE, 3), np.uint8)


async def push_all(engine: Engine, stream: EngineStream, frames: NDArray[np.uint8]) -> list[Step]:
    return [step for frame in frames for step in await engine.push(stream, [frame])]


@pytest.mark.slow
async def test_scores_are_the_same_before_while_and_after_all_batch_sizes_are_compiled(
    engine: Engine, detector: WatchedDetector
) -> None:
    frames = images(7, 0)

    async def push_until(prepared: asyncio.Event, stream: EngineStream, frame: NDArray[np.uint8]) -> list[Step]:
        steps: list[Step] = []
        while not prepared.is_set():
            steps += await engine.push(stream, [frame])
        return steps + await push_all(engine, stream, np.stack([frame] * 5))

    prepared = asyncio.Event()
    streams = [await engine.open_stream("tiny", live=False) for _ in frames]
    pushing = [asyncio.create_task(push_until(prepared, *pair)) for pair in zip(streams, frames, strict=True)]
    await asyncio.sleep(0)
    await engine.until_prepared()
    prepared.set()
    for frame, steps in zip(frames, await asyncio.gather(*pushing), strict=True):
        alone = detector.open_stream()
        expected = [detector.push([alone], frame[None])[0] for _ in steps]
        assert len(steps) > 5
        np.testing.assert_allclose([step.scores for step in steps], expected, atol=1e-5)


async def test_each_stream_in_a_batch_gets_the_same_scores_as_alone(engine: Engine, detector: WatchedDetector) -> None:
    frames = [images(8, seed) for seed in range(4)]
    streams = [await engine.open_stream("tiny", live=False) for _ in frames]
    steps = await asyncio.gather(*(push_all(engine, s, f) for s, f in zip(streams, frames, strict=True)))
    assert max(detector.batches) > 1
    for own_frames, own_steps in zip(frames, steps, strict=True):
        alone = detector.open_stream()
        expected = [detector.push([alone], frame[None])[0] for frame in own_frames]
        np.testing.assert_allclose([step.scores for step in own_steps], expected, atol=1e-5)
        assert all(step.scores.shape == (len(LABELS),) for step in own_steps)
        assert all(step.queue_s >= 0 and step.infer_s > 0 for step in own_steps)


async def test_the_only_stream_never_waits_for_others(engine: Engine, detector: WatchedDetector) -> None:
    stream = await engine.open_stream("tiny", live=True)
    await push_all(engine, stream, images(5, 0))
    assert detector.batches == [1] * 5


async def test_a_stream_continues_from_its_saved_state(engine: Engine) -> None:
    frames = images(10, 1)
    whole = await push_all(engine, await engine.open_stream("tiny", live=False), frames)
    first = await engine.open_stream("tiny", live=False)
    await push_all(engine, first, frames[:6])
    saved = await engine.save(first)
    engine.close_stream(first)
    resumed = await push_all(engine, await engine.open_stream("tiny", live=False, saved=saved), frames[6:])
    np.testing.assert_array_equal([s.scores for s in resumed], [s.scores for s in whole[6:]])


async def test_an_error_of_the_model_reaches_only_the_session_whose_frame_caused_it(engine: Engine) -> None:
    good, bad = [await engine.open_stream("tiny", live=False) for _ in range(2)]
    outcomes = await asyncio.gather(
        engine.push(good, list(images(1, 0))),
        engine.push(bad, [np.zeros((SIZE, SIZE, 3), np.uint8)]),
        return_exceptions=True,
    )
    assert isinstance(outcomes[0], list)
    assert isinstance(outcomes[1], ArithmeticError)
    assert len(await engine.push(bad, list(images(1, 0)))) == 1


async def test_several_frames_in_one_request_score_as_if_they_were_pushed_one_by_one(engine: Engine) -> None:
    frame, other = images(2, 0)
    runs = [[frame], [frame] * 3, [frame, frame, other], [other] * 2, [other, frame]]
    unchanged = [[False], [True] * 3, [True, True, False], [True] * 2, [True, False]]
    one_by_one, together, beside = [await engine.open_stream("tiny", live=False) for _ in range(3)]
    for images_of_run, unchanged_of_run in zip(runs, unchanged, strict=True):
        expected = [
            step.scores
            for image, is_unchanged in zip(images_of_run, unchanged_of_run, strict=True)
            for step in await engine.push(one_by_one, [image], [is_unchanged])
        ]
        found, _ = await asyncio.gather(
            engine.push(together, images_of_run, unchanged_of_run), engine.push(beside, [other])
        )
        np.testing.assert_allclose([step.scores for step in found], expected, atol=1e-5)


async def test_an_error_in_one_of_several_frames_ends_only_their_own_request(
    engine: Engine, detector: WatchedDetector
) -> None:
    good, bad = [await engine.open_stream("tiny", live=False) for _ in range(2)]
    frame, broken = images(1, 0)[0], np.zeros((SIZE, SIZE, 3), np.uint8)
    outcomes = await asyncio.gather(
        engine.push(good, [frame] * 3, [False, True, True]),
        engine.push(bad, [frame, broken, frame], [False] * 3),
        return_exceptions=True,
    )
    assert isinstance(outcomes[0], list)
    assert isinstance(outcomes[1], ArithmeticError)
    alone = detector.open_stream()
    expected = [detector.push([alone], frame[None], [number > 0])[0] for number in range(3)]
    np.testing.assert_allclose([step.scores for step in outcomes[0]], expected, atol=1e-5)


async def test_a_frame_of_the_wrong_shape_is_rejected_immediately(engine: Engine) -> None:
    stream = await engine.open_stream("tiny", live=False)
    with pytest.raises(ValueError, match="expected a frame"):
        await engine.push(stream, [np.zeros((SIZE, SIZE + 1, 3), np.uint8)])


async def test_a_stream_has_at_most_one_frame_waiting(engine: Engine) -> None:
    stream = await engine.open_stream("tiny", live=False)
    frame = list(images(1, 0))
    outcomes = await asyncio.gather(engine.push(stream, frame), engine.push(stream, frame), return_exceptions=True)
    assert isinstance(outcomes[0], list)
    assert isinstance(outcomes[1], RuntimeError)


async def test_while_live_sessions_run_fast_ones_get_a_small_share_of_each_call(
    engine: Engine, detector: WatchedDetector
) -> None:
    live = await engine.open_stream("tiny", live=True)
    fast = [await engine.open_stream("tiny", live=False) for _ in range(6)]
    await asyncio.gather(*(push_all(engine, stream, images(5, 0)) for stream in [live, *fast]))
    assert max(detector.batches) <= 1 + MAX_FAST_PER_LIVE_BATCH
    assert sum(detector.batches) == 7 * 5
    engine.close_stream(live)
    detector.batches.clear()
    await asyncio.gather(*(push_all(engine, stream, images(5, 0)) for stream in fast))
    assert max(detector.batches) > MAX_FAST_PER_LIVE_BATCH


async def test_a_cancelled_push_does_not_disturb_the_others(engine: Engine) -> None:
    gone, there = [await engine.open_stream("tiny", live=False) for _ in range(2)]
    task = asyncio.create_task(push_all(engine, gone, images(50, 0)))
    await engine.push(there, list(images(1, 1)))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    engine.close_stream(gone)
    assert len(await push_all(engine, there, images(5, 1))) == 5


async def test_closing_the_engine_fails_waiting_frames(detector: WatchedDetector) -> None:
    async with Engine({"tiny": detector}, WorkerMetrics(CollectorRegistry())) as engine:
        streams = [await engine.open_stream("tiny", live=False) for _ in range(4)]
        tasks = [asyncio.create_task(push_all(engine, stream, images(2000, 0))) for stream in streams]
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, EngineClosedError) for outcome in outcomes)
