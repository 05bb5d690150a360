"""What one more frame of one stream costs, with and without optical flow.

Shapes: T frames, P cached pixels, S pixels of the input, C channels; B = 1 stream.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.config import ModelConfig
from model.head import Head
from model.motion import MotionAdapter
from model.training.flow import dis_flow
from model.training.run import Run
from model.training.stages.single_stream import SingleStream
from model.training.stages.teacher import load_teacher
from model.training.stages.trunk import load_trunk
from model.training.views import View, see_pictures
from model.x3d import FeatureHead, Trunk

_FRAMES = 60
_WARMUP_FRAMES = 10


@dataclass(frozen=True)
class Costs:
    """Median milliseconds on one core. Batch norms are not folded in any of the networks."""

    rgb_ms: float
    """Trunk and feature head of the RGB stream, and the classifier."""
    adapter_ms: float
    """Motion adapter and its feature head."""
    flow_ms: float
    """DIS, of the cached picture."""
    teacher_ms: float
    """Trunk and feature head of the flow stream."""

    def __str__(self) -> str:
        adapter_ms, two_streams_ms = self.rgb_ms + self.adapter_ms, self.rgb_ms + self.flow_ms + self.teacher_ms
        return (
            f"One more frame on one core: {self.rgb_ms:.1f} ms with RGB only, "
            f"{adapter_ms:.1f} ms with the motion adapter, {two_streams_ms:.1f} ms with two streams, "
            f"of which flow {self.flow_ms:.1f} ms and its network {self.teacher_ms:.1f} ms."
        )


@torch.inference_mode()
def measure_costs(run: Run) -> Costs:
    """Of the run's own networks, on frames of its first validation video. Uses one thread meanwhile."""
    images_TPP3 = np.array(run.frames.load(run.validation[0]).images_TSS3[: _FRAMES + _WARMUP_FRAMES])
    with _one_thread():
        return Costs(
            rgb_ms=_stream_ms(load_trunk(run), see_pictures(images_TPP3, View(None))) + _classifier_ms(run.config),
            adapter_ms=_adapter_ms(run.config),
            flow_ms=_median_ms(lambda t: dis_flow(images_TPP3[t : t + 2]), len(images_TPP3) - 1),
            teacher_ms=_stream_ms(load_teacher(run), see_pictures(dis_flow(images_TPP3), View(None))),
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _stream_ms(stream: SingleStream, pictures_TCSS: NDArray[np.float32]) -> float:
    x_TCSS = torch.from_numpy(pictures_TCSS).contiguous(memory_format=torch.channels_last)
    trunk, side = stream.trunk.fresh(1, x_TCSS.shape[-1])
    window_1SV = stream.feature_head.fresh(1, side)

    def step(t: int) -> None:
        nonlocal trunk, window_1SV
        seen_1 = torch.tensor([t])
        map_1CHW, trunk = stream.trunk.step(x_TCSS[t : t + 1], trunk, seen_1)
        _, window_1SV = stream.feature_head.step(map_1CHW, window_1SV, seen_1)

    return _median_ms(step, len(x_TCSS))


def _adapter_ms(config: ModelConfig) -> float:
    """Of an adapter that has learnt nothing: the weights do not change the time."""
    width = config.trunk.widths[-1]
    adapter = MotionAdapter(width, config.motion_kernels, config.trunk.window_steps).eval()
    feature_head = FeatureHead(width, config.head).eval()
    _, side = Trunk(config.trunk).fresh(1, config.image_size)
    map_1CHW = torch.rand(1, width, side, side).contiguous(memory_format=torch.channels_last)
    state, window_1SV = adapter.fresh(1, side), feature_head.fresh(1, side)

    def step(t: int) -> None:
        nonlocal state, window_1SV
        seen_1 = torch.tensor([t])
        moved_1CHW, state = adapter.step(map_1CHW, state, seen_1)
        _, window_1SV = feature_head.step(moved_1CHW, window_1SV, seen_1)

    return _median_ms(step, _FRAMES)


def _classifier_ms(config: ModelConfig) -> float:
    head = Head(config.head, len(config.labels)).eval()
    features_1F, hidden_1H = torch.rand(1, head.fuse.in_features), head.fresh(1)
    return _median_ms(lambda t: head.step(features_1F, hidden_1H), _FRAMES)


def _median_ms(step: Callable[[int], object], steps: int) -> float:
    """The first steps, which find caches cold, do not count where there are others."""
    times_ms = []
    for t in range(steps):
        begun_s = time.perf_counter()
        step(t)
        times_ms.append(1000 * (time.perf_counter() - begun_s))
    return float(np.median(times_ms[_WARMUP_FRAMES:] or times_ms))
