"""Measures end-to-end latency: from a frame's arrival at its decoder to its event at a client."""

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection

from service.event_schemas import ActionEndEvent, ActionStartEvent, Event


async def collect_latencies(
    socket: ClientConnection,
    event_of: Callable[[str | bytes], Event],
    latencies_s: list[float],
    since_unix_s: float = 0.0,
) -> None:
    """Append the end-to-end latency of each action event after `since_unix_s`, in seconds, until the socket closes."""
    async for text in socket:
        received_unix_s = time.time()
        event = event_of(text)
        if isinstance(event, ActionStartEvent | ActionEndEvent) and event.time.timestamp() > since_unix_s:
            latencies_s.append(received_unix_s - event.time.timestamp() + event.latency_s.total)


def percentiles_ms(values_s: Sequence[float], percents: Sequence[int]) -> list[float]:
    """Percentiles (0 to 100) of durations in seconds, in milliseconds; NaN without durations."""
    if not values_s:
        return [float("nan")] * len(percents)
    found_s: NDArray[np.float64] = np.percentile(values_s, percents)
    return [round(1000 * float(value), 2) for value in found_s]
