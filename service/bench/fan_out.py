"""Measures many WebSocket clients that follow one session: what they cost, and their end-to-end latency."""

import asyncio
import resource
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

from service.bench.clips import write_moving
from service.bench.decode import SIZES
from service.bench.footprint import measure_usage
from service.bench.latencies import collect_latencies, percentiles_ms
from service.bench.live import MODEL, save_low_threshold_model, submit_video
from service.bench.one_core import served_on_one_core
from service.bench.server import RunningServer, ServerFailedError
from service.event_schemas import EVENT

CONNECT_AT_ONCE = 50
SIZE = "360p"


@dataclass(frozen=True)
class FanOut:
    """The cost of sending the events of one session to many clients."""

    clients: int
    p50_ms: float
    """End-to-end latency in milliseconds, over all clients: from a frame's arrival at its decoder to the client."""
    p95_ms: float
    events: int
    core_share: float
    """Share of one core used by the whole service. The client uses another core, if there is one."""
    memory_mb: float


async def measure_fan_out(folder: Path, model: str, clients: tuple[int, ...], window_s: float) -> list[FanOut]:
    """Measure each number of clients in turn, on one real-time session. Raises the same errors as `measure_live`."""
    video, checkpoint = folder / "fan-out.mp4", folder / "fan-out" / MODEL
    write_moving(video, *SIZES[SIZE], 4 * len(clients) * window_s)
    save_low_threshold_model(model, video, checkpoint, actions=1)
    _allow_connections()
    async with served_on_one_core(folder / "fan-out-data", checkpoint, {}) as server:
        session = await submit_video(server.client, video, "realtime")
        if session is None:
            raise ServerFailedError("The server did not take a session.")
        url = server.websocket_url(session.links.events)
        return [await _measure(server, url, count, window_s) for count in clients]


async def _measure(server: RunningServer, url: str, clients: int, window_s: float) -> FanOut:
    async with AsyncExitStack() as stack:
        sockets: list[ClientConnection] = []
        while len(sockets) < clients:
            some = [connect(url) for _ in range(min(CONNECT_AT_ONCE, clients - len(sockets)))]
            sockets += await asyncio.gather(*map(stack.enter_async_context, some))
        # The session's history comes first, then new events.
        began_unix_s, latencies_s = time.time(), list[float]()
        async with asyncio.TaskGroup() as group:
            collecting = [
                group.create_task(collect_latencies(socket, EVENT.validate_json, latencies_s, began_unix_s))
                for socket in sockets
            ]
            usage = await measure_usage(server.pid, window_s)
            for task in collecting:
                task.cancel()
    p50_ms, p95_ms = percentiles_ms(latencies_s, (50, 95))
    return FanOut(clients, p50_ms, p95_ms, len(latencies_s), usage.core_share, usage.memory_mb)


def _allow_connections() -> None:
    """Raise the limit of open files to the most that is allowed; the service inherits it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
