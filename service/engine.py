"""Steps of all sessions of a worker, gathered into one model call at a time, in one thread of its own."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from model.config import ModelConfig
from model.detector import BATCHES, Detector, Stream
from service.telemetry import WorkerMetrics

# How long a frame waits for those of other sessions that run as fast as they can, and so are about to come.
GATHER_S = 0.003
MAX_BATCH = 8
# After a call the engine rests for as long as the call took, at most so long, unless a full batch waits: frames of live
# sessions, each at its own moment, are gathered the more the less time there is. A step in a batch of 8 costs a third.
MAX_REST_S = 0.008
# While live sessions run, each call takes only so many frames of fast ones: a live frame waits for at most one call.
MAX_FAST_BESIDE_LIVE = 2
# With graphs for these numbers of streams the engine begins; those between save time once there are many sessions.
FIRST_BATCHES = (BATCHES[0], BATCHES[-1])


T = TypeVar("T")


class EngineClosed(Exception):
    """The engine was shut down while a frame waited."""


@dataclass(frozen=True)
class Step:
    """One frame's scores in [0, 1], one for each label of the model; seconds that it waited and that the call took."""

    scores: NDArray[np.float32]
    queue_s: float
    infer_s: float


@dataclass(eq=False)
class EngineStream:
    """One session's place in the engine. Opaque: made by `Engine.open_stream`."""

    model: str
    live: bool
    stream: Stream
    waiting: "_Request | None" = None


@dataclass(eq=False)
class _Request:
    stream: EngineStream
    image: NDArray[np.uint8]
    outcome: "asyncio.Future[Step]"
    asked_s: float = field(default_factory=time.perf_counter)


class Engine:
    """Owns the detectors and the thread that runs them. An async context manager.

    Bounded by itself: a stream has at most one frame waiting, because its session awaits the scores.
    """

    def __init__(self, detectors: Mapping[str, Detector], metrics: WorkerMetrics, *, torch_threads: int = 1) -> None:
        self._detectors = dict(detectors)
        self._metrics = metrics
        self._torch_threads = torch_threads
        self._thread = ThreadPoolExecutor(1, "engine")
        self._streams: set[EngineStream] = set()
        self._requests: list[_Request] = []
        self._arrived = asyncio.Event()
        self._rested_s = 0.0
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        torch.set_num_threads(self._torch_threads)  # threads that begin from now on follow
        await self._prepare(FIRST_BATCHES)
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        assert self._running is not None
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        for stream in self._streams:
            if stream.waiting is not None:
                _resolve(stream.waiting, EngineClosed("The engine was shut down."))
        await asyncio.to_thread(self._thread.shutdown)

    async def prepare_all(self) -> None:
        """Compile what makes batches of every size fast, beside the steps of those who push already."""
        await self._prepare(BATCHES)

    async def _prepare(self, batches: Sequence[int]) -> None:
        await asyncio.gather(*(asyncio.to_thread(d.prepare, batches) for d in self._detectors.values()))

    def config(self, model: str) -> ModelConfig:
        """The configuration of a loaded model; KeyError for another."""
        return self._detectors[model].config

    def version(self, model: str) -> str:
        return self._detectors[model].version

    async def open_stream(self, model: str, *, live: bool, saved: bytes | None = None) -> EngineStream:
        """A stream that has seen nothing, or goes on from `saved`. Raises StateInvalid when another model saved it."""
        stream = await self._in_thread(self._detectors[model].open_stream, saved)
        opened = EngineStream(model, live, stream)
        self._streams.add(opened)
        return opened

    def close_stream(self, stream: EngineStream) -> None:
        """No more frames will come from it. Idempotent."""
        self._streams.discard(stream)

    async def save(self, stream: EngineStream) -> bytes:
        """What `open_stream` needs to go on from here."""
        return await self._in_thread(stream.stream.save)

    async def push(self, stream: EngineStream, image_HWC: NDArray[np.uint8]) -> Step:
        """Advance a stream by one frame; an error of the model reaches this caller alone.

        Raises ValueError for a picture of the wrong shape, RuntimeError when the stream's last frame is still waiting,
        EngineClosed.
        """
        size = self.config(stream.model).image_size
        if image_HWC.shape != (size, size, 3):
            raise ValueError(f"expected a frame of {size} x {size} x 3, got {image_HWC.shape}")
        if self._running is None or self._running.done():
            raise EngineClosed("The engine does not run.")
        if stream.waiting is not None:
            raise RuntimeError("a stream takes one frame at a time")
        request = stream.waiting = _Request(stream, image_HWC, asyncio.get_running_loop().create_future())
        self._requests.append(request)
        self._arrived.set()
        try:
            return await request.outcome
        finally:
            stream.waiting = None
            if request in self._requests:
                self._requests.remove(request)

    async def measure_steps_per_s(self, model: str, *, duration_s: float) -> float:
        """Steps per second of this model with full batches, measured for that long on frames of noise."""
        return await self._in_thread(_measure, self._detectors[model], duration_s)

    async def _run(self) -> None:
        """Call the model for what waits, for ever."""
        while True:
            await self._arrived.wait()
            await self._gather()
            batch = self._take()
            if self._requests:
                self._arrived.set()
            else:
                self._arrived.clear()
            if batch:
                began_s = time.perf_counter()
                for request, outcome in zip(batch, await self._in_thread(self._step, batch), strict=True):
                    _resolve(request, outcome)
                ended_s = time.perf_counter()
                self._rested_s = ended_s + min(ended_s - began_s, MAX_REST_S)

    async def _gather(self) -> None:
        """Wait for frames about to come: of fast sessions for a moment, of live ones while the engine rests."""
        while self._requests and len(self._requests) < min(MAX_BATCH, len(self._streams)):
            fast = sum(not stream.live for stream in self._streams)
            fast_here = sum(not request.stream.live for request in self._requests)
            until_s = self._rested_s if fast_here == 0 else 0.0
            if fast_here < fast:
                until_s = max(until_s, self._requests[0].asked_s + GATHER_S)
            left_s = until_s - time.perf_counter()
            if left_s <= 0:
                return
            self._arrived.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._arrived.wait()
            except TimeoutError:
                return

    def _take(self) -> list[_Request]:
        """The next batch, of one model: live frames first, then fast ones, oldest first."""
        if not self._requests:
            return []
        live = [request for request in self._requests if request.stream.live]
        fast = [request for request in self._requests if not request.stream.live]
        if any(stream.live for stream in self._streams):
            fast = fast[:MAX_FAST_BESIDE_LIVE]
        chosen = live + fast
        batch = [request for request in chosen if request.stream.model == chosen[0].stream.model][:MAX_BATCH]
        self._requests = [request for request in self._requests if request not in batch]
        return batch

    def _step(self, batch: Sequence[_Request]) -> list[Step | Exception]:
        """In the thread: one model call. A batch that fails is done one by one, so that only the guilty frame fails."""
        model = batch[0].stream.model
        began_s = time.perf_counter()
        try:
            images_BHWC = np.stack([request.image for request in batch])
            scores_BK = self._detectors[model].push([request.stream.stream for request in batch], images_BHWC)
        except Exception as error:  # raised again where the frame was pushed
            return [error] if len(batch) == 1 else [self._step([request])[0] for request in batch]
        infer_s = time.perf_counter() - began_s
        steps = [Step(s, began_s - request.asked_s, infer_s) for s, request in zip(scores_BK, batch, strict=True)]
        self._metrics.batch.labels(model).observe(len(batch))
        self._metrics.infer_seconds.observe(infer_s)
        for step in steps:
            self._metrics.queue_seconds.observe(step.queue_s)
        return list(steps)

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)


def _resolve(request: _Request, outcome: Step | Exception) -> None:
    if request.outcome.done():
        return  # whoever pushed it was cancelled
    if isinstance(outcome, Exception):
        request.outcome.set_exception(outcome)
    else:
        request.outcome.set_result(outcome)


def _measure(detector: Detector, duration_s: float) -> float:
    size = detector.config.image_size
    streams = [detector.open_stream() for _ in range(MAX_BATCH)]
    images_BHWC = np.random.default_rng(0).integers(0, 256, (MAX_BATCH, size, size, 3), np.uint8)
    for _ in range(3):
        detector.push(streams, images_BHWC)
    began_s, steps = time.perf_counter(), 0
    while time.perf_counter() - began_s < duration_s:
        detector.push(streams, images_BHWC)
        steps += MAX_BATCH
    return steps / (time.perf_counter() - began_s)
