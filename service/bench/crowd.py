"""What it costs that many clients follow one session by WebSocket, and how late they hear of it."""

import asyncio
import json
import os
import resource
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

from model.checkpoint import load_checkpoint
from service.bench.clips import write_moving
from service.bench.decode import SIZES
from service.bench.footprint import footprint
from service.bench.live import MODEL, age_s, percentiles_ms, save_talkative, submit
from service.bench.server import RunningServer, ServerFailedError, running_server
from service.schemas import EVENT, ActionEndEvent, ActionStartEvent

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
    video, data_dir = folder / "crowd.mp4", folder / "crowd-data"
    write_moving(video, *SIZES[SIZE], 30.0 + 3 * len(clients) * window_s)
    save_talkative(network, video, folder / "crowd" / MODEL, actions=1)
    data_dir.mkdir()
    _allow_connections()
    environ = {"CAKE_MODELS": json.dumps([str(folder / "crowd" / MODEL)]), "CAKE_DEFAULT_MODEL": MODEL}
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores - {min(cores)} or cores)
    try:
        async with running_server(data_dir, environ | {"CAKE_WORKERS": "1"}, core=min(cores)) as server:
            session = await submit(server.client, video, "realtime")
            if session is None:
                raise ServerFailedError("The server did not take a session.")
            url = server.websocket_url(session.links.events)
            return [await _measure(server, url, count, window_s) for count in clients]
    finally:
        os.sched_setaffinity(0, cores)


async def _measure(server: RunningServer, url: str, clients: int, window_s: float) -> Crowd:
    async with AsyncExitStack() as stack:
        sockets: list[ClientConnection] = []
        while len(sockets) < clients:
            some = [connect(url) for _ in range(min(CONNECT_AT_ONCE, clients - len(sockets)))]
            sockets += await asyncio.gather(*map(stack.enter_async_context, some))
        began_unix_s, ages_s = time.time(), list[float]()
        async with asyncio.TaskGroup() as group:
            collecting = [group.create_task(_collect(socket, began_unix_s, ages_s)) for socket in sockets]
            before, began_s = footprint(server.pid), time.monotonic()
            await asyncio.sleep(window_s)
            after, took_s = footprint(server.pid), time.monotonic() - began_s
            for task in collecting:
                task.cancel()
    p50_ms, p95_ms = percentiles_ms(ages_s, (50, 95))
    share = (after.cpu_s - before.cpu_s) / took_s
    return Crowd(clients, p50_ms, p95_ms, len(ages_s), round(share, 3), round(after.memory_mb, 1))


async def _collect(socket: ClientConnection, began_unix_s: float, ages_s: list[float]) -> None:
    """Of what happens from now on; before it the session's history comes."""
    async for text in socket:
        received_unix_s = time.time()
        event = EVENT.validate_json(text)
        if isinstance(event, ActionStartEvent | ActionEndEvent) and event.time.timestamp() > began_unix_s:
            ages_s.append(age_s(event, received_unix_s))


def _allow_connections() -> None:
    """As many as this process may ask for; the service inherits this limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
