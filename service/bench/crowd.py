"""What it costs that many clients follow one session by WebSocket, and how late they hear of it."""

import asyncio
import resource
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

from model.checkpoint import load_checkpoint
from service.bench.ages import collect_ages, percentiles_ms
from service.bench.clips import write_moving
from service.bench.decode import SIZES
from service.bench.footprint import measure_usage
from service.bench.live import MODEL, save_talkative, submit
from service.bench.one_core import served_on_one_core
from service.bench.server import RunningServer, ServerFailedError
from service.schemas import EVENT

CONNECT_AT_ONCE = 50
SIZE = "360p"


@dataclass(frozen=True)
class Crowd:
    clients: int
    p50_ms: float
    """Milliseconds from a frame's arrival at its decoder to its event at a client, over all clients."""
    p95_ms: float
    events: int
    core_share: float
    """Of one core's time, used by the whole service; the client has another core, if there is one."""
    memory_mb: float


async def measure_crowds(folder: Path, model: str, clients: tuple[int, ...], window_s: float) -> list[Crowd]:
    """Each number of clients in turn, on one session of pace `realtime`. Raises as `measure_live` does."""
    network, _ = load_checkpoint(model)
    video, checkpoint = folder / "crowd.mp4", folder / "crowd" / MODEL
    write_moving(video, *SIZES[SIZE], 30.0 + 3 * len(clients) * window_s)
    save_talkative(network, video, checkpoint, actions=1)
    _allow_connections()
    async with served_on_one_core(folder / "crowd-data", checkpoint, {}) as server:
        session = await submit(server.client, video, "realtime")
        if session is None:
            raise ServerFailedError("The server did not take a session.")
        url = server.websocket_url(session.links.events)
        return [await _measure(server, url, count, window_s) for count in clients]


async def _measure(server: RunningServer, url: str, clients: int, window_s: float) -> Crowd:
    async with AsyncExitStack() as stack:
        sockets: list[ClientConnection] = []
        while len(sockets) < clients:
            some = [connect(url) for _ in range(min(CONNECT_AT_ONCE, clients - len(sockets)))]
            sockets += await asyncio.gather(*map(stack.enter_async_context, some))
        # Before what happens from now on comes the session's history.
        began_unix_s, ages_s = time.time(), list[float]()
        async with asyncio.TaskGroup() as group:
            collecting = [
                group.create_task(collect_ages(socket, EVENT.validate_json, ages_s, began_unix_s)) for socket in sockets
            ]
            usage = await measure_usage(server.pid, window_s)
            for task in collecting:
                task.cancel()
    p50_ms, p95_ms = percentiles_ms(ages_s, (50, 95))
    return Crowd(clients, p50_ms, p95_ms, len(ages_s), usage.core_share, usage.memory_mb)


def _allow_connections() -> None:
    """As many as this process may ask for; the service inherits this limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
