"""Measures what cameras cost with and without CAKE_QUIET, side by side, from a real RTSP server."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
import psutil

from model.checkpoints.folders import find_checkpoint
from model.checkpoints.stored import read_config
from service.bench.camera_file import GOP_S, CodedGroups, MovingSpan
from service.bench.camera_reading import CameraReading, measure_reading
from service.bench.decode import SIZES
from service.bench.rtsp_server import rtsp_server
from service.bench.server import RunningServer, ServerFailedError, running_server
from service.schemas import Session

Quiet = Literal["off", "auto"]
QUIET: tuple[Quiet, ...] = ("off", "auto")
# By percentage of time in which nothing moves: pairs of groups of frames, 4 s each, repeated. A motion between two
# still pairs lasts 2 s.
STILL, MOVES = False, True
SCHEDULES: Mapping[int, Sequence[bool]] = {
    0: (MOVES,),
    50: (MOVES,) * 3 + (STILL,) * 3,
    90: (STILL, STILL, MOVES, STILL, STILL),
    99: (STILL,) * 12 + (MOVES,) + (STILL,) * 37,
}
# Long enough for a gate to learn what motion looks like.
LEAD = (STILL,) * 5 + (MOVES,) + (STILL,) * 3 + (MOVES,) + (STILL,) * 2
LEAD_S = 2 * GOP_S * len(LEAD)
# A load that uses more of the core than this is not sustained.
USABLE_SHARE = 0.9
FORK_SERVER, WORKER = "service.decoder.fork_server_child", "service.worker"
_POLL_S, _START_S = 0.05, 120.0


@dataclass(frozen=True)
class CamerasEffort:
    """How much to measure."""

    sizes: tuple[str, ...]
    static_percents: tuple[int, ...]
    cameras: int
    """For each percentage and setting; all cameras of a size run at the same time."""
    lead_s: float
    """How long after its start the last camera is measured, at most `LEAD_S`."""
    window_s: float
    starting_s: float
    """How long all cameras may take to start. Recordings are longer by this time."""


@dataclass(frozen=True)
class CameraCost:
    """A camera that is static for some percentage of the time, under one setting of CAKE_QUIET."""

    static_percent: int
    quiet: Quiet
    decoder_share: float
    """Share of a core that its decoder takes."""
    service_share: float
    """The same for worker and server, beyond their use without cameras: the mean over the cameras of a setting."""
    frames_share: float
    """Analysed share of the frames that were due. Below 0.95, the camera fell behind, and its cost is not meaningful.
    """
    decoding: str | None
    """`video.decoding` of its session at the end."""
    cameras_per_core: float
    """Derived from processor time, with a tenth of the core to spare."""


@dataclass(frozen=True)
class Cameras:
    """Cameras of one size."""

    costs: tuple[CameraCost, ...]
    idle_share: Mapping[Quiet, float]
    """Share of a core that server and worker take without cameras, by setting."""
    misses: Mapping[Quiet, int]
    """`cake_quiet_misses_total` by setting."""
    readings: tuple[CameraReading, ...]
    """The decoder's work alone, measured with a file."""


@dataclass
class _Camera:
    session_id: str
    static_percent: int
    decoder: psutil.Process


@dataclass(frozen=True)
class _Moment:
    at_s: float
    base_cpu_s: float
    decoder_cpu_s: tuple[float, ...]
    frames: tuple[int, ...]


async def measure_cameras(folder: Path, model: str, size: str, effort: CamerasEffort) -> Cameras:
    """Measure cameras of a size of `SIZES`. Raises CheckpointNotFoundError and ServerFailedError."""
    checkpoint, stage = find_checkpoint(model), folder / f"cameras-{size}"
    sample_hz = read_config(checkpoint).sample_hz
    recordings = stage / "recordings"
    recordings.mkdir(parents=True)
    motions = await asyncio.to_thread(_write, recordings, size, effort)
    readings = [
        await asyncio.to_thread(measure_reading, recordings / f"{percent}.ts", percent, motions[percent], LEAD_S)
        for percent in effort.static_percents
    ]
    async with AsyncExitStack() as stack:
        address = stack.enter_context(rtsp_server(recordings))
        servers: dict[Quiet, RunningServer] = {}
        for quiet in QUIET:
            data_dir = stage / quiet
            data_dir.mkdir()
            environ = {
                "CAKE_MODELS": str(checkpoint),
                "CAKE_DEFAULT_MODEL": checkpoint.name,
                "CAKE_WORKERS": "1",
                "CAKE_WORKER_MAX_SESSIONS": "64",
                "CAKE_WORKER_CAPACITY_STEPS_PER_S": "640",
                "CAKE_SOURCE_ALLOW": "127.0.0.0/8",
                "CAKE_QUIET": quiet,
            }
            servers[quiet] = await stack.enter_async_context(running_server(data_dir, environ))
        idle = await _idle_shares(servers, effort.window_s / 4)
        cameras: dict[Quiet, list[_Camera]] = {quiet: [] for quiet in QUIET}
        for percent in effort.static_percents * effort.cameras:
            for quiet, server in servers.items():
                cameras[quiet].append(await _start(server, f"{address}/{percent}", percent))
        await asyncio.sleep(effort.lead_s)
        before = {quiet: await _moment(servers[quiet], cameras[quiet]) for quiet in QUIET}
        await asyncio.sleep(effort.window_s)
        costs: list[CameraCost] = []
        for quiet in QUIET:
            after = await _moment(servers[quiet], cameras[quiet])
            costs += await _costs(servers[quiet], quiet, cameras[quiet], (before[quiet], after), idle[quiet], sample_hz)
        misses = {quiet: await _misses(server.client) for quiet, server in servers.items()}
    return Cameras(tuple(costs), idle, misses, tuple(readings))


def _write(folder: Path, size: str, effort: CamerasEffort) -> dict[int, list[MovingSpan]]:
    """Write a recording for each percentage. Returns the spans in which something moves in each."""
    groups = CodedGroups(*SIZES[size])
    pairs = round((effort.window_s + effort.starting_s) / (2 * GOP_S))
    motions: dict[int, list[MovingSpan]] = {}
    for percent in effort.static_percents:
        schedule = SCHEDULES[percent]
        moving = [*LEAD, *(schedule[number % len(schedule)] for number in range(pairs))]
        motions[percent] = groups.write(folder / f"{percent}.ts", moving)
    return motions


async def _idle_shares(servers: Mapping[Quiet, RunningServer], window_s: float) -> dict[Quiet, float]:
    before = {quiet: _base_cpu_s(server.pid) for quiet, server in servers.items()}
    began_s = time.monotonic()
    await asyncio.sleep(window_s)
    took_s = time.monotonic() - began_s
    return {quiet: round((_base_cpu_s(server.pid) - before[quiet]) / took_s, 4) for quiet, server in servers.items()}


async def _start(server: RunningServer, url: str, static_percent: int) -> _Camera:
    """Start a camera, and wait for its decoder, whose cost is that of the camera."""
    known = {process.pid for process in _decoders(server.pid)}
    source = {"source": {"url": url, "transport": "tcp"}}
    response = await server.client.post("/v1/sessions", json=source)
    session = Session.model_validate_json(response.raise_for_status().content)
    try:
        async with asyncio.timeout(_START_S):
            while True:
                decoders = [process for process in _decoders(server.pid) if process.pid not in known]
                if decoders and (await _session(server, session.id)).frames > 0:
                    return _Camera(session.id, static_percent, decoders[0])
                await asyncio.sleep(_POLL_S)
    except TimeoutError as error:
        raise ServerFailedError(f"A camera did not start within {_START_S:.0f} s.") from error


async def _costs(
    server: RunningServer,
    quiet: Quiet,
    cameras: Sequence[_Camera],
    moments: tuple[_Moment, _Moment],
    idle_share: float,
    sample_hz: float,
) -> list[CameraCost]:
    """The mean of the cameras of each percentage."""
    before, after = moments
    took_s = after.at_s - before.at_s
    service_share = max(0.0, (after.base_cpu_s - before.base_cpu_s) / took_s - idle_share) / len(cameras)
    sessions = [await _session(server, camera.session_id) for camera in cameras]
    costs: list[CameraCost] = []
    for percent in dict.fromkeys(camera.static_percent for camera in cameras):
        chosen = [number for number, camera in enumerate(cameras) if camera.static_percent == percent]
        decoder_s = sum(after.decoder_cpu_s[number] - before.decoder_cpu_s[number] for number in chosen)
        frames = sum(after.frames[number] - before.frames[number] for number in chosen)
        decoder_share = decoder_s / took_s / len(chosen)
        video = sessions[chosen[0]].video
        costs.append(
            CameraCost(
                percent,
                quiet,
                round(decoder_share, 4),
                round(service_share, 4),
                frames_share=round(frames / len(chosen) / (took_s * sample_hz), 3),
                decoding=None if video is None else video.decoding,
                cameras_per_core=round((USABLE_SHARE - idle_share) / (decoder_share + service_share), 1),
            )
        )
    return costs


async def _moment(server: RunningServer, cameras: Sequence[_Camera]) -> _Moment:
    sessions = [await _session(server, camera.session_id) for camera in cameras]
    try:
        decoders_s = tuple(_cpu_s(camera.decoder) for camera in cameras)
    except psutil.NoSuchProcess as error:
        raise ServerFailedError("A camera was lost while it was measured.") from error
    return _Moment(time.monotonic(), _base_cpu_s(server.pid), decoders_s, tuple(session.frames for session in sessions))


async def _session(server: RunningServer, session_id: str) -> Session:
    response = await server.client.get(f"/v1/sessions/{session_id}")
    return Session.model_validate_json(response.raise_for_status().content)


async def _misses(client: httpx.AsyncClient) -> int:
    lines = (await client.get("/metrics")).raise_for_status().text.splitlines()
    return round(sum(float(line.split()[-1]) for line in lines if line.startswith("cake_quiet_misses_total")))


def _base_cpu_s(server_pid: int) -> float:
    """Processor time of the server and its workers."""
    processes = [psutil.Process(server_pid), *_processes(server_pid, WORKER)]
    return sum(_cpu_s(process) for process in processes)


def _processes(server_pid: int, module: str) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in psutil.Process(server_pid).children(recursive=True):
        try:
            if module in process.cmdline():
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def _decoders(server_pid: int) -> list[psutil.Process]:
    """All decoders, which are forked from one process of their worker."""
    return [decoder for server in _processes(server_pid, FORK_SERVER) for decoder in _children(server)]


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children()
    except psutil.NoSuchProcess:
        return []


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
