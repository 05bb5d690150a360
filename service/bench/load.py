"""How many live sessions one core holds, decode to event, and what each costs."""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

from model.checkpoint import load_checkpoint
from service.bench.clips import write_moving
from service.bench.decode import SIZES
from service.bench.footprint import Footprint, footprint
from service.bench.live import MODEL, age_s, percentiles_ms, save_talkative, submit
from service.bench.server import RunningServer, ServerFailedError, running_server
from service.schemas import ActionEndEvent, ActionStartEvent, LogEntry, SessionPage

MOST_P95_MS = 300.0
MOST_AGE_MS = 1000.0
MOST_SESSIONS = 128
_POLL_S = 0.25
_START_S = 180.0


@dataclass(frozen=True)
class LoadEffort:
    video_s: float
    """Length of each session's video, which must last until all have begun and been measured."""
    settle_s: float
    window_s: float
    most_sessions: int


@dataclass(frozen=True)
class Load:
    """A number of sessions of pace `realtime` side by side, the whole service on one core."""

    sessions: int
    p50_ms: float
    """Milliseconds from a frame's arrival at its decoder to its event at a WebSocket client."""
    p95_ms: float
    oldest_ms: float
    events: int
    frames_share: float
    """Frames analysed, of those that were due; a few percent off, as sessions tell it once a second."""
    core_share: float
    """Of the core's time, used by all processes of the service together."""
    memory_mb: float
    """Of all its processes; what they share counts once."""
    holds: bool
    """Whether 95 % of the events came within 300 ms and all within a second. What a core cannot hold falls behind more
    and more: decoders leave nothing out.
    """


@dataclass(frozen=True)
class Capacity:
    """The greatest number of sessions that held, and all loads that were tried, in order."""

    sessions: int
    loads: tuple[Load, ...]


async def measure_capacity(folder: Path, model: str, size: str, effort: LoadEffort) -> Capacity:
    """Find what one core holds of videos of this size (of `SIZES`), 30 frames a second; `model` as in `measure_live`.

    The client runs on another core, if there is one. Raises as `measure_live` does.
    """
    network, _ = load_checkpoint(model)
    video = folder / f"load-{size}.mp4"
    write_moving(video, *SIZES[size], effort.video_s)
    save_talkative(network, video, folder / f"load-{size}" / MODEL, actions=1)
    cores = os.sched_getaffinity(0)
    served = min(cores)
    os.sched_setaffinity(0, cores - {served} or cores)
    try:

        async def measure(sessions: int) -> Load:
            data_dir = folder / f"load-{size}" / f"data-{sessions}"
            data_dir.mkdir()
            environ = {
                "CAKE_MODELS": json.dumps([str(folder / f"load-{size}" / MODEL)]),
                "CAKE_DEFAULT_MODEL": MODEL,
                "CAKE_WORKERS": "1",
                "CAKE_WORKER_MAX_SESSIONS": str(MOST_SESSIONS),
                "CAKE_WORKER_CAPACITY_STEPS_PER_S": str(MOST_SESSIONS * network.config.sample_hz),
            }
            async with running_server(data_dir, environ, core=served) as server:
                return await measure_load(server, video, sessions, network.config.sample_hz, effort)

        return await search(measure, first=4, most=effort.most_sessions)
    finally:
        os.sched_setaffinity(0, cores)


async def search(measure: Callable[[int], Awaitable[Load]], *, first: int, most: int) -> Capacity:
    """Double the sessions until a load does not hold, then halve the gap until it is a sixteenth; at most `most`."""
    tried: dict[int, Load] = {}
    held, broke, sessions = 0, most + 1, min(first, most)
    while sessions > held and broke - held > max(1, held // 16):
        tried[sessions] = await measure(sessions)
        if tried[sessions].holds:
            held = sessions
        else:
            broke = sessions
        sessions = min(2 * held, most) if broke > most else (held + broke) // 2
    return Capacity(held, tuple(tried[sessions] for sessions in sorted(tried)))


async def measure_load(server: RunningServer, video: Path, sessions: int, sample_hz: float, effort: LoadEffort) -> Load:
    """Raises ServerFailedError when the sessions do not all begin in time, or end too early."""
    for _ in range(sessions):
        if await submit(server.client, video, "realtime") is None:
            raise ServerFailedError(f"The server did not take {sessions} sessions.")
    await _until_all_run(server, sessions)
    await asyncio.sleep(effort.settle_s)
    ages_s: list[float] = []
    async with connect(server.websocket_url("/v1/events")) as socket:
        collecting = asyncio.create_task(_collect(socket, ages_s))
        before, frames_before, began_s = footprint(server.pid), await _frames(server), time.monotonic()
        await asyncio.sleep(effort.window_s)
        after, frames, took_s = footprint(server.pid), await _frames(server), time.monotonic() - began_s
        collecting.cancel()
        await asyncio.gather(collecting, return_exceptions=True)
    if len(frames) < sessions:
        raise ServerFailedError(f"Only {len(frames)} of {sessions} sessions still ran when they were measured.")
    share = (sum(frames.values()) - sum(frames_before.values())) / (sessions * sample_hz * took_s)
    return _load(sessions, ages_s, share, before, after, took_s)


def _load(
    sessions: int, ages_s: list[float], frames_share: float, before: Footprint, after: Footprint, took_s: float
) -> Load:
    p50_ms, p95_ms, oldest_ms = percentiles_ms(ages_s, (50, 95, 100))
    return Load(
        sessions,
        p50_ms,
        p95_ms,
        oldest_ms,
        len(ages_s),
        frames_share=round(frames_share, 4),
        core_share=round((after.cpu_s - before.cpu_s) / took_s, 3),
        memory_mb=round(after.memory_mb, 1),
        holds=p95_ms < MOST_P95_MS and oldest_ms < MOST_AGE_MS,
    )


async def _collect(socket: ClientConnection, ages_s: list[float]) -> None:
    async for text in socket:
        received_unix_s = time.time()
        event = LogEntry.model_validate_json(text).event
        if isinstance(event, ActionStartEvent | ActionEndEvent):
            ages_s.append(age_s(event, received_unix_s))


async def _until_all_run(server: RunningServer, sessions: int) -> None:
    try:
        async with asyncio.timeout(_START_S):
            while sum(frames > 0 for frames in (await _frames(server)).values()) < sessions:  # noqa: ASYNC110 - asking is all one can do
                await asyncio.sleep(_POLL_S)
    except TimeoutError as error:
        raise ServerFailedError(f"{sessions} sessions did not begin within {_START_S:.0f} s.") from error


async def _frames(server: RunningServer) -> dict[str, int]:
    """Frames analysed so far in each session that runs."""
    answer = await server.client.get("/v1/sessions?limit=200&state=running")
    page = SessionPage.model_validate_json(answer.raise_for_status().content)
    return {session.id: session.frames for session in page.sessions}
