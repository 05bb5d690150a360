"""Measures how many detector steps per second a worker can offer to its sessions."""

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from model.detector import Detector
from service.session.batching import MAX_BATCH
from service.settings import Settings

# Of the measured steps per second; decoders, commits and bursts need the rest.
USABLE_SHARE, USABLE_SHARE_OF_ONE_CORE = 0.7, 0.35
MEASURE_S = 0.2
# A worker is not ready before. This only shows whether single steps are fast enough for all sessions.
MEASURE_SINGLE_STEPS_S = 0.05
COMPARE_S = 0.1
CLEARLY_SLOWER = 0.8
WARM_UP_CALLS = 3


async def measure_capacity_steps_per_s(detectors: Mapping[str, Detector], settings: Settings) -> float:
    """Steps per second to offer: those of the slowest model, minus a reserve, unless the settings state a number.

    Nothing else may use the detectors at the same time.
    """
    if settings.worker_capacity_steps_per_s is not None:
        return settings.worker_capacity_steps_per_s
    # The maximum number of live sessions cannot use more, and fast sessions that reserved more would only wait.
    most = settings.worker_max_sessions * max(detector.config.sample_hz for detector in detectors.values())
    share = USABLE_SHARE if len(os.sched_getaffinity(0)) > 1 else USABLE_SHARE_OF_ONE_CORE
    # Full batches are faster still, but their graphs would have to be compiled first.
    if share * await _slowest_steps_per_s(detectors, MEASURE_SINGLE_STEPS_S, streams=1) >= most:
        return most
    return min(share * await _slowest_steps_per_s(detectors, MEASURE_S, streams=MAX_BATCH), most)


async def _slowest_steps_per_s(detectors: Mapping[str, Detector], all_s: float, *, streams: int) -> float:
    """`all_s` is spent on all models together."""
    each_s = all_s / len(detectors)
    return min([await asyncio.to_thread(measure_steps_per_s, d, each_s, streams=streams) for d in detectors.values()])


def measure_steps_per_s(
    detector: Detector, duration_s: float, *, streams: int = MAX_BATCH, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Steps per second of a model in batches of one or of `MAX_BATCH` streams, on frames of noise for `duration_s`.

    The graph for full batches is compiled for this only: it takes memory that a model without sessions does not need.
    """
    if streams > 1:
        detector = detector.twin()
    size = detector.config.image_size
    opened = [detector.open_stream() for _ in range(streams)]
    images_BHWC = np.random.default_rng(0).integers(0, 256, (streams, size, size, 3), np.uint8)
    for _ in range(WARM_UP_CALLS):
        detector.push(opened, images_BHWC)
    began_s, steps = clock(), 0
    while (elapsed_s := clock() - began_s) < duration_s:
        detector.push(opened, images_BHWC)
        steps += streams
    return steps / elapsed_s


def relative_speed(detector: Detector, others: Iterable[Detector]) -> float | None:
    """The speed of a model in proportion to that of the slowest of `others`; None unless it is clearly slower.

    Both are measured now, because the worker's sessions slow both down alike.
    """
    slowest = min(measure_steps_per_s(other, COMPARE_S) for other in others)
    speed = measure_steps_per_s(detector, COMPARE_S) / slowest
    return speed if speed < CLEARLY_SLOWER else None
