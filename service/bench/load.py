"""How many live sessions one core holds, decode to event, and what each costs."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from websockets.asyncio.client import connect

from model.checkpoint import load_checkpoint
from service.bench.ages import collect_ages, percentiles_ms
from service.bench.clips import write_moving
from service.bench.decode import SIZES
from service.bench.footprint import measure_usage
from service.bench.live import MODEL, save_talkative, submit
from service.bench.one_core import served_on_one_core
from service.bench.server import RunningServer, ServerFailedError
from service.schemas import Event, LogEntry, SessionPage

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
    """From the first frame of the last session: until then, decoders that start take time of those that run."""
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
    stage = folder / f"load-{size}"
    video, checkpoint = folder / f"load-{size}.mp4", stage / MODEL
    write_moving(video, *SIZES[size], effort.video_s)
    save_talkative(network, video, checkpoint, actions=1)
    sample_hz = network.config.sample_hz
    environ = {
        "CAKE_WORKER_MAX_SESSIONS": str(MOST_SESSIONS),
        "CAKE_WORKER_CAPACITY_STEPS_PER_S": str(MOST_SESSIONS * sample_hz),
    }

    async def measure(sessions: int) -> Load:
        async with served_on_one_core(stage / f"data-{sessions}", checkpoint, environ) as server:
            return await measure_load(server, video, sessions, sample_hz, effort)

    return await search(measure, first=1, most=effort.most_sessions)


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
        collecting = asyncio.create_task(collect_ages(socket, _logged_event, ages_s))
        frames_before, began_s = await _frames(server), time.monotonic()
        usage = await measure_usage(server.pid, effort.window_s)
        frames, took_s = await _frames(server), time.monotonic() - began_s
        collecting.cancel()
        await asyncio.gather(collecting, return_exceptions=True)
    if len(frames) < sessions:
        raise ServerFailedError(f"Only {len(frames)} of {sessions} sessions still ran when they were measured.")
    p50_ms, p95_ms, oldest_ms = percentiles_ms(ages_s, (50, 95, 100))
    analysed = sum(frames.values()) - sum(frames_before.values())
    return Load(
        sessions,
        p50_ms,
        p95_ms,
        oldest_ms,
        events=len(ages_s),
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
    """Frames analysed so far in each session that runs."""
    answer = await server.client.get("/v1/sessions?limit=200&state=running")
    page = SessionPage.model_validate_json(answer.raise_for_status().content)
    return {session.id: session.frames for session in page.sessions}
