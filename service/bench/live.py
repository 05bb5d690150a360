"""Measures what clients of the real server experience: the latency of events, and response times at full load."""

import asyncio
import json
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
from websockets.asyncio.client import connect

from model.checkpoints.folders import WEIGHTS_FILE, find_checkpoint
from model.checkpoints.stored import write_config
from model.config import BACKGROUND, ModelConfig, StartRule
from model.detector import Detector
from model.video.file_reader import open_video
from service.bench.clips import write_moving, write_scaled
from service.bench.latencies import collect_latencies, percentiles_ms
from service.bench.server import RunningServer, ServerFailedError, running_server
from service.event_schemas import EVENT
from service.offline.detect import analyse
from service.schemas import Session, SessionPage

MODEL = "bench"
LIVEZ_EVERY_S = 0.02
PATIENCE_S = 300.0


@dataclass(frozen=True)
class LiveEffort:
    """How much to measure."""

    live_s: float
    """Length of the live session's video."""
    livez_s: float
    """How long the fully loaded server is measured."""
    fast_video_s: float
    fast_sessions: int
    """Largest number of sessions; fewer if the server admits fewer."""


@dataclass(frozen=True)
class EventLatency:
    """One session of 1280 x 720 at 30 Hz, paced like a camera.

    Milliseconds from a frame's arrival at the decoder to its event at a WebSocket client, for all action events.
    """

    p50: float
    p95: float
    events: int


@dataclass(frozen=True)
class Livez:
    """Milliseconds of GET /livez while sessions of pace `fast` keep the worker at its full capacity."""

    p50: float
    p99: float
    requests: int
    sessions: int
    steps_per_s: float
    """The worker's detector steps per second during this time."""


@dataclass(frozen=True)
class ServiceSpeed:
    """How quickly the service starts, publishes events and answers."""

    ready_after_s: float
    """From the start of the server until it accepts sessions."""
    event_latency_ms: EventLatency
    livez_ms: Livez


async def measure_live(folder: Path, model: str, sample: Path | None, effort: LiveEffort) -> ServiceSpeed:
    """Start a server in `folder` with this model and measure it.

    `sample` is the video of the live session, scaled; without it, one is generated. The model's thresholds are lowered
    so that it constantly publishes actions to measure. Raises CheckpointNotFoundError, CheckpointError, VideoError,
    ServerFailedError.
    """
    live, fast = folder / "live.mp4", folder / "fast.mp4"
    if sample is None:
        write_moving(live, 1280, 720, effort.live_s)
    else:
        write_scaled(live, sample, 1280, 720, effort.live_s)
    write_moving(fast, 640, 360, effort.fast_video_s)
    save_low_threshold_model(model, live, folder / MODEL)
    data_dir = folder / "data"
    data_dir.mkdir()
    environ = {"CAKE_MODELS": str(folder / MODEL), "CAKE_DEFAULT_MODEL": MODEL, "CAKE_WORKERS": "1"}
    try:
        async with running_server(data_dir, environ) as server, asyncio.timeout(effort.live_s + PATIENCE_S):
            return ServiceSpeed(
                server.ready_after_s, await _event_latency(server, live), await _livez(server.client, fast, effort)
            )
    except TimeoutError as error:
        raise ServerFailedError("The sessions did not run to their end in time.") from error


def save_low_threshold_model(model: str, video: Path, folder: Path, *, actions: int | None = None) -> ModelConfig:
    """Save a copy of the checkpoint `model` with thresholds so low that it often publishes actions in this video.

    It publishes only the first `actions` labels, by default all. Raises CheckpointNotFoundError and CheckpointError.
    """
    detector = Detector.load(model)
    with open_video(video) as opened:
        scores_TK = np.stack([analysed.scores_K for analysed in analyse(opened, detector)])
    rules = {
        label: StartRule(
            enter=float(np.quantile(scores_TK[:, i], 0.6)),
            leave=float(np.quantile(scores_TK[:, i], 0.5)),
            refractory_s=0.0,
        )
        for i, label in enumerate(detector.config.labels)
        if label != BACKGROUND and (actions is None or i <= actions)
    }
    folder.mkdir(parents=True)
    shutil.copy(find_checkpoint(model) / WEIGHTS_FILE, folder)
    config = replace(detector.config, name=MODEL, start_rules=rules)
    write_config(folder, config)
    return config


async def _event_latency(server: RunningServer, video: Path) -> EventLatency:
    session = await submit_video(server.client, video, "realtime")
    assert session is not None
    latencies_s: list[float] = []
    async with connect(server.websocket_url(session.links.events)) as socket:
        await collect_latencies(socket, EVENT.validate_json, latencies_s)
    p50, p95 = percentiles_ms(latencies_s, (50, 95))
    return EventLatency(p50, p95, len(latencies_s))


async def _livez(client: httpx.AsyncClient, video: Path, effort: LiveEffort) -> Livez:
    """Measure response times once every admitted session has started."""
    admitted: set[str] = set()
    while len(admitted) < effort.fast_sessions and (session := await submit_video(client, video, "fast")) is not None:
        admitted.add(session.id)
    frames = await _frames(client)
    while any(frames[session_id] == 0 for session_id in admitted):
        await asyncio.sleep(LIVEZ_EVERY_S)
        frames = await _frames(client)
    began_s = time.monotonic()
    took_s: list[float] = []
    while time.monotonic() - began_s < effort.livez_s:
        asked_s = time.perf_counter()
        (await client.get("/livez")).raise_for_status()
        took_s.append(time.perf_counter() - asked_s)
        await asyncio.sleep(LIVEZ_EVERY_S)
    steps = sum((await _frames(client)).values()) - sum(frames.values())
    steps_per_s = steps / (time.monotonic() - began_s)
    p50, p99 = percentiles_ms(took_s, (50, 99))
    return Livez(p50, p99, len(took_s), len(admitted), round(steps_per_s, 1))


async def submit_video(client: httpx.AsyncClient, video: Path, pace: str) -> Session | None:
    """The new session, or None if the server has no capacity for it."""
    options = json.dumps({"pace": pace}).encode()
    content = await asyncio.to_thread(video.read_bytes)
    parts = {"file": (video.name, content, "video/mp4"), "session": (None, options, "application/json")}
    response = await client.post("/v1/sessions", files=parts)
    if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return None
    return Session.model_validate_json(response.raise_for_status().content)


async def _frames(client: httpx.AsyncClient) -> dict[str, int]:
    """Frames analysed so far, by session id."""
    page = SessionPage.model_validate_json((await client.get("/v1/sessions?limit=200")).content)
    return {session.id: session.frames for session in page.sessions}
