"""Runs the detector steps of all sessions of a worker, batched into one model call at a time, in its own thread."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Protocol, Self, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from model.config import ModelConfig
from model.detector import BATCHES, Stream
from service.observability.telemetry import WorkerMetrics
from service.session.batching import BatchWindow, EngineStream, FrameRequest, Step

# A model starts with the graph for one stream. Those for more take 40 MB each, and are compiled, in this order, once
# it has several streams.
FIRST_BATCHES = (BATCHES[-1],)
MORE_BATCHES = ((BATCHES[0], BATCHES[-1]), BATCHES)
_log = structlog.get_logger(__name__)

T = TypeVar("T")


class EngineClosedError(Exception):
    """The engine was shut down while a frame waited."""


class StepModel(Protocol):
    """The part of `model.detector.Detector` that the engine uses."""

    @property
    def config(self) -> ModelConfig:
        """The model's configuration."""

    @property
    def version(self) -> str:
        """Fingerprint of the weights and start rules."""

    def prepare(self, batches: Sequence[int]) -> None:
        """Compile graphs for these batch sizes. Blocks; may run in another thread than `push`."""

    def open_stream(self, saved: bytes | None = None) -> Stream:
        """A stream in its initial state, or in a state that was saved. Raises StateError."""

    def push(
        self, streams: Sequence[Stream], images_BHWC: NDArray[np.uint8], unchanged_B: Sequence[bool]
    ) -> NDArray[np.float32]:
        """Advance each stream by one frame, which may be the previous one. Returns scores in [0, 1], (B, labels)."""


class Engine:
    """Owns the detectors and the thread that runs them. An async context manager.

    Its queue is bounded: a stream has at most one waiting frame, because its session awaits the scores.
    """

    def __init__(self, detectors: Mapping[str, StepModel], metrics: WorkerMetrics) -> None:
        self._detectors = dict(detectors)
        self._names = {model: model for model in detectors}
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(1, "engine")
        self._window = BatchWindow()
        self._arrived = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._growing: dict[str, asyncio.Task[None]] = {}
        """By model: the task that compiles, or has compiled, its graphs for more streams."""

    async def __aenter__(self) -> Self:
        await asyncio.gather(*(asyncio.to_thread(d.prepare, FIRST_BATCHES) for d in self._detectors.values()))
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        assert self._running is not None
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        for stream in self._window.streams:
            if stream.waiting is not None:
                _resolve(stream.waiting, EngineClosedError("The engine was shut down."))
        await asyncio.to_thread(self._thread.shutdown)
        await self.until_prepared()

    async def until_prepared(self) -> None:
        """Return once no graph is being compiled."""
        await asyncio.gather(*self._growing.values())

    async def _grow(self, model: str) -> None:
        """Compile the graphs for several streams while sessions already run; until then, streams run one by one."""
        try:
            for batches in MORE_BATCHES:
                await asyncio.to_thread(self._detectors[model].prepare, batches)
        except Exception:
            _log.exception("graphs for several streams not compiled", model=model)

    def add(self, model: str, name: str, detector: StepModel) -> None:
        """Add a model whose graph for one stream is compiled; `name` identifies it in metrics."""
        self._detectors[model] = detector
        self._names[model] = name

    def remove(self, model: str) -> bool:
        """Remove a model. Returns False and does nothing while a stream uses it or its graphs are being compiled."""
        growing = self._growing.get(model)
        if any(stream.model == model for stream in self._window.streams) or (growing and not growing.done()):
            return False
        for known in (self._growing, self._detectors, self._names):
            known.pop(model, None)
        return True

    def has(self, model: str) -> bool:
        """Whether the model is loaded."""
        return model in self._detectors

    def config(self, model: str) -> ModelConfig:
        """The configuration of a loaded model; KeyError for any other name."""
        return self._detectors[model].config

    def version(self, model: str) -> str:
        """The version of a loaded model; KeyError for any other name."""
        return self._detectors[model].version

    async def open_stream(self, model: str, *, live: bool, saved: bytes | None = None) -> EngineStream:
        """A stream in its initial state, or in a `saved` one. Raises StateError when another model saved it."""
        stream = await self._in_thread(self._detectors[model].open_stream, saved)
        opened = EngineStream(model, live, stream)
        self._window.streams.add(opened)
        if model not in self._growing and sum(one.model == model for one in self._window.streams) > 1:
            self._growing[model] = asyncio.create_task(self._grow(model))
        return opened

    def close_stream(self, stream: EngineStream) -> None:
        """Free the stream's batch slot. Idempotent."""
        self._window.streams.discard(stream)

    async def save(self, stream: EngineStream) -> bytes:
        """The stream's state, as `open_stream` takes it."""
        return await self._in_thread(stream.stream.save)

    async def push(
        self, stream: EngineStream, images: Sequence[NDArray[np.uint8]], unchanged: Sequence[bool] = (False,)
    ) -> list[Step]:
        """Advance a stream by some frames, usually one; an error of the model reaches only this caller.

        Args:
            images: the frames (H, W, 3) in their order.
            unchanged: of each, whether it is that of the frame before it, which may take less time.

        Raises ValueError for a frame of the wrong shape, RuntimeError when earlier frames of the stream are still
        waiting, EngineClosedError.
        """
        size = self.config(stream.model).image_size
        for image_HWC in images:
            if image_HWC.shape != (size, size, 3):
                raise ValueError(f"expected a frame of {size} x {size} x 3, got {image_HWC.shape}")
        if self._running is None or self._running.done():
            raise EngineClosedError("The engine does not run.")
        if stream.waiting is not None:
            raise RuntimeError("earlier frames of the stream are still waiting")
        outcome: asyncio.Future[list[Step]] = asyncio.get_running_loop().create_future()
        request = stream.waiting = FrameRequest(stream, images, time.perf_counter(), outcome, unchanged)
        self._window.requests.append(request)
        self._arrived.set()
        try:
            return await outcome
        finally:
            stream.waiting = None
            if request in self._window.requests:
                self._window.requests.remove(request)

    async def _run(self) -> None:
        """Call the model for waiting frames until cancelled."""
        while True:
            await self._arrived.wait()
            await self._gather()
            batch = self._window.take()
            if self._window.requests:
                self._arrived.set()
            else:
                self._arrived.clear()
            if batch:
                began_s = time.perf_counter()
                for request, outcome in zip(batch, await self._in_thread(self._step, batch), strict=True):
                    _resolve(request, outcome)
                self._window.called(began_s, time.perf_counter())

    async def _gather(self) -> None:
        """Wait for more frames, as long as the batch window is open."""
        while (wait_s := self._window.wait_s(time.perf_counter())) > 0:
            self._arrived.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._arrived.wait()
            except TimeoutError:
                return

    def _step(self, batch: Sequence[FrameRequest]) -> list[list[Step] | Exception]:
        """Run the model for a batch, in the thread: once, or several times with the last frames of all in one call."""
        steps: list[list[Step]] = [[] for _ in batch]
        errors: dict[int, Exception] = {}
        for left in range(max(len(request.images) for request in batch), 0, -1):
            going = [
                place for place, request in enumerate(batch) if len(request.images) >= left and place not in errors
            ]
            for place, outcome in zip(going, self._call([batch[place] for place in going], -left), strict=True):
                if isinstance(outcome, Exception):
                    errors[place] = outcome
                else:
                    steps[place].append(outcome)
        return [errors.get(place, found) for place, found in enumerate(steps)]

    def _call(self, batch: Sequence[FrameRequest], number: int) -> list[Step | Exception]:
        """Run one model call, for the frame with this index. A failed call is repeated frame by frame so that only one
        fails.
        """
        if not batch:
            return []
        model = batch[0].stream.model
        began_s = time.perf_counter()
        try:
            images_BHWC = np.stack([request.images[number] for request in batch])
            unchanged_B = [request.unchanged[number] for request in batch]
            scores_BK = self._detectors[model].push([r.stream.stream for r in batch], images_BHWC, unchanged_B)
        except Exception as error:  # raised again in the session that pushed the frame
            return [error] if len(batch) == 1 else [self._call([request], number)[0] for request in batch]
        infer_s = time.perf_counter() - began_s
        steps = [Step(s, began_s - request.requested_s, infer_s) for s, request in zip(scores_BK, batch, strict=True)]
        self._metrics.batch.labels(self._names[model]).observe(len(batch))
        self._metrics.infer_seconds.observe(infer_s)
        for step in steps:
            self._metrics.queue_seconds.observe(step.queue_s)
        return list(steps)

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)


def _resolve(request: FrameRequest, outcome: list[Step] | Exception) -> None:
    if request.outcome.done():
        return  # the session was cancelled
    if isinstance(outcome, Exception):
        request.outcome.set_exception(outcome)
    else:
        request.outcome.set_result(outcome)
