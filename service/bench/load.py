"""Measures how many live sessions one core sustains, from decoding to events, and the cost of each."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from websockets.asyncio.client import connect

from service.bench.clips import write_moving
from service.bench.decode import SIZES
from service.bench.footprint import measure_usage
from service.bench.latencies import collect_latencies, percentiles_ms
from service.bench.live import MODEL, save_low_threshold_model, submit_video
from service.bench.one_core import served_on_one_core
from service.bench.server import RunningServer, ServerFailedError
from service.event_schemas import Event, LogEntry
from service.schemas import SessionPage

MOST_P95_MS = 300.0
MOST_AGE_MS = 1000.0
MOST_SESSIONS = 128
_POLL_S = 0.25
_START_S = 180.0


@dataclass(frozen=True)
class LoadEffort:
    """How much to measure."""

    video_s: float
    """Length of each session's video. It must last until all sessions have started and been measured."""
    settle_s: float
    """Time after the first frame of the last session during which starting decoders still slow down running ones."""
    window_s: float
    most_sessions: int


@dataclass(frozen=True)
class Load:
    """A number of concurrent real-time sessions, with the whole service on one core."""

    sessions: int
    p50_ms: float
    """End-to-end latency in milliseconds, from a frame's arrival at its decoder to a WebSocket client."""
    p95_ms: float
    oldest_ms: float
    events: int
    frames_share: float
    """Analysed share of the frames that were due; accurate to a few percent, since sessions report once per second."""
    core_share: float
    """Share of the core used by all processes of the service."""
    memory_mb: float
    """Memory of all its processes in 10^6 bytes; shared memory counts once."""
    holds: bool
    """Whether 95 % of the events arrived within 300 ms and all within a second. An overloaded core falls further and
    further behind, because decoders skip nothing.
    """


@dataclass(frozen=True)
class Capacity:
    """The largest number of sustained sessions, and all measured loads, in order."""

    sessions: int
    loads: tuple[Load, ...]


async def find_max_sessions(folder: Path, model: str, size: str, effort: LoadEffort) -> Capacity:
    """Find how many videos of this size (of `SIZES`) one core sustains, at 30 frames per second.

    `model` and the errors are as in `measure_live`. The client runs on another core, if there is one.
    """
    stage = folder / f"load-{size}"
    video, checkpoint = folder / f"load-{size}.mp4", stage / MODEL
    write_moving(video, *SIZES[size], effort.video_s)
    sample_hz = save_low_threshold_model(model, video, checkpoint, actions=1).sample_hz
    environ = {
        "CAKE_WORKER_MAX_SESSIONS": str(MOST_SESSIONS),
        "CAKE_WORKER_CAPACITY_STEPS_PER_S": str(MOST_SESSIONS * sample_hz),
    }

    async def measure(sessions: int) -> Load:
        async with served_on_one_core(stage / f"data-{sessions}", checkpoint, environ) as server:
            return await measure_load(server, video, sessions, sample_hz, effort)

    return await search(measure, first=1, most=effort.most_sessions)


async def search(measure: Callable[[int], Awaitable[Load]], *, first: int, most: int) -> Capacity:
    """Double the number of sessions, up to `most`, until a load is not sustained; then bisect to a sixteenth."""
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
    """Raises ServerFailedError if a session does not start in time or ends too early."""
    for _ in range(sessions):
        if await submit_video(server.client, video, "realtime") is None:
            raise ServerFailedError(f"The server did not take {sessions} sessions.")
    await _until_all_run(server, sessions)
    await asyncio.sleep(effort.settle_s)
    latencies_s: list[float] = []
    async with connect(server.websocket_url("/v1/events")) as socket:
        collecting = asyncio.create_task(collect_latencies(socket, _logged_event, latencies_s))
        frames_before, began_s = await _frames(server), time.monotonic()
        usage = await measure_usage(server.pid, effort.window_s)
        frames, took_s = await _frames(server), time.monotonic() - began_s
        collecting.cancel()
        await asyncio.gather(collecting, return_exceptions=True)
    if len(frames) < sessions:
        raise ServerFailedError(f"Only {len(frames)} of {sessions} sessions still ran when they were measured.")
    p50_ms, p95_ms, oldest_ms = percentiles_ms(latencies_s, (50, 95, 100))
    analysed = sum(frames.values()) - sum(frames_before.values())
    return Load(
        sessions,
        p50_ms,
        p95_ms,
        oldest_ms,
        events=len(latencies_s),
        frames_share=round(analysed / (sessions * sample_hz * took_s), 4),
        core_share=usage.core_share,
        memory_mb=usage.memory_mb,
        holds=p95_ms < MOST_P95_MS and oldest_ms < MOST_AGE_MS,
    )


def _logged_event(text: str | bytes) -> Event:
    return LogEntry.model_validate_json(text).event


async def _until_all_run(server: RunningServer, sessions: int) -> None:
    try:
        async with asyncio.timeout(_START_S):
            while sum(frames > 0 for frames in (await _frames(server)).values()) < sessions:  # noqa: ASYNC110 - asking is all one can do
                await asyncio.sleep(_POLL_S)
    except TimeoutError as error:
        raise ServerFailedError(f"{sessions} sessions did not begin within {_START_S:.0f} s.") from error


async def _frames(server: RunningServer) -> dict[str, int]:
    """Frames analysed so far, by running session."""
    answer = await server.client.get("/v1/sessions?limit=200&state=running")
    page = SessionPage.model_validate_json(answer.raise_for_status().content)
    return {session.id: session.frames for session in page.sessions}
