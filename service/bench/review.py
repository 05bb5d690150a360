"""Measures how much clips, feedback and filtered streams add to the latency of events, and when clips are ready.

Two servers get the same pushed frames at the same moments: one without these features, one with all of them.
"""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import av
import httpx
from websockets.asyncio.client import connect

from service.bench.clips import write_moving
from service.bench.decode import SIZES
from service.bench.latencies import percentiles_ms
from service.bench.live import MODEL, save_low_threshold_model
from service.bench.server import RunningServer, ServerFailedError, running_server
from service.event_schemas import EVENT, ActionEndEvent, ActionStartEvent, EventMediaEvent
from service.schemas import Session

SIZE = "360p"
BEFORE_S, AFTER_S = "2", "2"
PATIENCE_S = 300.0
FILTERS = ("type=action.start", "min_score=0.5", "session={}&type=action.start&type=event.media", "region=door")


@dataclass(frozen=True)
class Review:
    """Latencies in milliseconds, from a frame's arrival at its decoder to a WebSocket client.

    `plain` is the server without clips, feedback and filtered streams, `full` the one with all of them.
    """

    plain_p50_ms: float
    full_p50_ms: float
    plain_p95_ms: float
    full_p95_ms: float
    events: int
    """The number on the server that published fewer. Both analyse the same frames, but time them as they arrive."""
    clips: int
    clip_p50_ms: float
    """From the arrival of a clip's last frame until its announcement reaches a client."""
    clip_max_ms: float


class _Watched:
    """What a client saw of one session."""

    def __init__(self) -> None:
        self.latencies_s: list[float] = []
        self.zero_unix_s: float | None = None
        self.clips: list[tuple[float, float]] = []
        """For each clip, the media time of its end, and when it was announced."""


async def measure_review(folder: Path, model: str, length_s: float) -> Review:
    """Push a video of `length_s` to both servers. `model` and errors are as in `measure_live`."""
    stage = folder / "review"
    video, checkpoint = folder / "review.mp4", stage / MODEL
    write_moving(video, *SIZES[SIZE], length_s)
    save_low_threshold_model(model, video, checkpoint, actions=1)
    packets = await asyncio.to_thread(_transport_stream, video)
    environ = {
        "CAKE_MODELS": str(checkpoint),
        "CAKE_DEFAULT_MODEL": MODEL,
        "CAKE_WORKERS": "1",
        "CAKE_WORKER_CAPACITY_STEPS_PER_S": "100",
    }
    clips = {"CAKE_CLIPS": "all", "CAKE_CLIP_BEFORE_S": BEFORE_S, "CAKE_CLIP_AFTER_S": AFTER_S}
    async with AsyncExitStack() as stack:
        servers: list[RunningServer] = []
        for name, more in (("plain", {}), ("full", clips)):
            (stage / name).mkdir()
            servers.append(await stack.enter_async_context(running_server(stage / name, environ | more)))
        plain, full = [await _submit(server.client) for server in servers]
        begin_s = time.monotonic() + 1.0
        try:
            async with asyncio.timeout(length_s + PATIENCE_S), asyncio.TaskGroup() as group:
                seen = [group.create_task(_watch(servers[0], plain, judges=False))]
                seen.append(group.create_task(_watch(servers[1], full, judges=True)))
                filtered = [group.create_task(_drain(servers[1], full, query)) for query in FILTERS]
                for server, session in zip(servers, (plain, full), strict=True):
                    group.create_task(_push(server.client, session, packets, begin_s))
                await asyncio.wait(seen)
                for task in filtered:
                    task.cancel()
        except TimeoutError as error:
            raise ServerFailedError("The sessions did not run to their end in time.") from error
    return _compare(*(task.result() for task in seen))


def _transport_stream(video: Path) -> list[tuple[float, bytes]]:
    """The video's packets as MPEG-TS, each with the time at which a camera would send it."""
    sink = io.BytesIO()
    found: list[tuple[float, bytes]] = []
    with av.open(video) as source, av.open(sink, "w", format="mpegts", options={"flush_packets": "1"}) as target:
        (stream,) = source.streams.video
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is None:
                continue
            at_s = float(packet.dts * packet.time_base)
            packet.stream = copy
            target.mux(packet)
            found.append((at_s, sink.getvalue()))
            sink.seek(0)
            sink.truncate()
    return found


async def _submit(client: httpx.AsyncClient) -> Session:
    answer = await client.post("/v1/sessions", json={"source": {"push": True}, "pace": "realtime"})
    return Session.model_validate_json(answer.raise_for_status().content)


async def _push(
    client: httpx.AsyncClient, session: Session, packets: Sequence[tuple[float, bytes]], begin_s: float
) -> None:
    async def paced() -> AsyncIterator[bytes]:
        for at_s, content in packets:
            await asyncio.sleep(max(0.0, begin_s + at_s - packets[0][0] - time.monotonic()))
            yield content

    assert session.links.stream is not None
    (await client.put(session.links.stream, content=paced(), timeout=None)).raise_for_status()


async def _watch(server: RunningServer, session: Session, *, judges: bool) -> _Watched:
    """Follow a session to its end, and judge its actions if asked to."""
    watched = _Watched()
    async with connect(server.websocket_url(session.links.events)) as socket:
        async for text in socket:
            received_unix_s = time.time()
            event = EVENT.validate_json(text)
            if isinstance(event, EventMediaEvent):
                watched.clips.append((event.to_s, received_unix_s))
            if not isinstance(event, ActionStartEvent | ActionEndEvent):
                continue
            watched.latencies_s.append(received_unix_s - event.time.timestamp() + event.latency_s.total)
            if isinstance(event, ActionStartEvent) and event.start_time is not None:
                watched.zero_unix_s = event.start_time.timestamp() - event.start_s
            if judges and isinstance(event, ActionStartEvent):
                path = f"{session.links.events}/{event.id}/feedback"
                (await server.client.put(path, json={"verdict": "right"})).raise_for_status()
    return watched


async def _drain(server: RunningServer, session: Session, query: str) -> None:
    """Follow the events of all sessions with a filter."""
    async with connect(server.websocket_url(f"/v1/events?{query.format(session.id)}")) as socket:
        async for _ in socket:
            pass


def _compare(plain: _Watched, full: _Watched) -> Review:
    plain_ms, full_ms = percentiles_ms(plain.latencies_s, (50, 95)), percentiles_ms(full.latencies_s, (50, 95))
    zero_unix_s = full.zero_unix_s
    ready_s = [] if zero_unix_s is None else [at_unix_s - zero_unix_s - to_s for to_s, at_unix_s in full.clips]
    clip_p50_ms, clip_max_ms = percentiles_ms(ready_s, (50, 100))
    return Review(
        plain_ms[0],
        full_ms[0],
        plain_ms[1],
        full_ms[1],
        min(len(plain.latencies_s), len(full.latencies_s)),
        len(ready_s),
        clip_p50_ms,
        clip_max_ms,
    )
