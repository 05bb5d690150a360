"""The cost of one more frame of one stream as it is served, and the additional cost of optical flow.

Shapes: T frames, P cached pixels, S pixels of the input.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.cpus import use_one_thread
from model.detector import Detector
from model.network.cake import Cake
from model.training.flow import dis_flow
from model.training.run import Run

_FRAMES = 60
_WARMUP_FRAMES = 10


@dataclass(frozen=True)
class Costs:
    """Median milliseconds of one processor."""

    served_ms: float
    """The whole network with its motion adapter: one push of one frame into the detector that serves, in float32."""
    flow_ms: float
    """Optical flow (DIS) between two frames of the training size, before any network reads it."""

    def __str__(self) -> str:
        return (
            f"One more frame on one core, as served with the motion adapter: {self.served_ms:.1f} ms. Optical flow of "
            f"the same frame (DIS) would add {self.flow_ms:.1f} ms, and a second trunk that reads it."
        )


def measure_costs(run: Run) -> Costs:
    """The costs of this run's network on frames of its first validation video. The weights do not affect the time."""
    frames_TPP3 = np.array(run.frames.load(run.validation[0]).images_TSS3[: _FRAMES + _WARMUP_FRAMES])
    with _one_thread():
        return Costs(
            served_ms=served_frame_ms(Cake(run.config).eval(), frames_TPP3),
            flow_ms=_median_ms(lambda t: dis_flow(frames_TPP3[t : t + 2]), len(frames_TPP3) - 1),
        )


def served_frame_ms(network: Cake, frames_TPP3: NDArray[np.uint8]) -> float:
    """Median milliseconds of one frame of one stream through `Detector`, which gets the top left corner of each
    frame.
    """
    size = network.config.image_size
    detector = Detector(network)
    detector.prepare((1,))
    stream = detector.open_stream()
    return _median_ms(lambda t: detector.push([stream], frames_TPP3[t : t + 1, :size, :size]), len(frames_TPP3))


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    use_one_thread()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _median_ms(step: Callable[[int], object], steps: int) -> float:
    """The median of processor time, so that other work on the machine does not count. If there are enough steps, the
    first ones are left out because caches are cold.
    """
    times_ms = []
    for t in range(steps):
        begun_s = time.process_time()
        step(t)
        times_ms.append(1000 * (time.process_time() - begun_s))
    return float(np.median(times_ms[_WARMUP_FRAMES:] or times_ms))
