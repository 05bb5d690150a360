"""How old what a frame decided is when a client has it."""

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection

from service.schemas import ActionEndEvent, ActionStartEvent, Event


async def collect_ages(
    socket: ClientConnection, event_of: Callable[[str | bytes], Event], ages_s: list[float], since_unix_s: float = 0.0
) -> None:
    """Until the socket closes: of each action event later than `since_unix_s`, the seconds from the arrival at the
    decoder of the frame that decided it, to this client.
    """
    async for text in socket:
        received_unix_s = time.time()
        event = event_of(text)
        if isinstance(event, ActionStartEvent | ActionEndEvent) and event.time.timestamp() > since_unix_s:
            ages_s.append(received_unix_s - event.time.timestamp() + event.latency_s.total)


def percentiles_ms(values_s: Sequence[float], percents: Sequence[int]) -> list[float]:
    if not values_s:
        return [float("nan")] * len(percents)
    found_s: NDArray[np.float64] = np.percentile(values_s, percents)
    return [round(1000 * float(value), 2) for value in found_s]
