"""Measures many subscriptions of one server: when webhooks and WebSocket clients get events, and how much processor
time that takes.
"""

import asyncio
import time
import uuid
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from websockets.asyncio.client import connect

from service.background import background_task
from service.bench.footprint import measure_usage
from service.bench.latencies import percentiles_ms
from service.bench.one_core import served_on_one_core
from service.bench.server import RunningServer, ServerFailedError
from service.event_schemas import ActionStartEvent, Latency, LogEntry
from service.server_schemas import ModelInfo
from service.sources.stored import StoredPush
from service.store import open_store
from service.store.protocols import Store
from service.store.records import SessionRecord
from service.store.worker_records import LEASE_S, WorkerInfo

MODEL = "bench"
"""A model name that no worker has, so that no worker claims these sessions."""
LABELS = tuple(f"action-{n}" for n in range(10))
LEAD_S = 3.0
"""Time before the measurement in which lanes start and connections are opened."""


@dataclass(frozen=True)
class SubscriptionCost:
    """The cost of subscriptions at this rate of events; each event is selected by one subscription.

    Latencies are from an event's creation: to the receiver of a webhook (None without subscriptions), and to a
    client that follows all sessions over a WebSocket.
    """

    subscriptions: int
    events_per_s: float
    delivered: int
    webhook_p50_ms: float | None
    webhook_p95_ms: float | None
    websocket_p50_ms: float
    websocket_p95_ms: float
    core_share: float
    """Share of one core used by the whole service; the sessions run elsewhere."""
    memory_mb: float


@dataclass
class _Receiver:
    url: str
    latencies_s: list[float] = field(default_factory=list)


async def measure_subscriptions(
    folder: Path, model: Path | str, subscriptions: tuple[int, ...], rate_hz: float, window_s: float
) -> list[SubscriptionCost]:
    """Measure each number of subscriptions with a separate server. Raises ServerFailedError, ServiceError."""
    return [await _measure(folder, str(model), count, rate_hz, window_s) for count in subscriptions]


async def _measure(folder: Path, model: str, count: int, rate_hz: float, window_s: float) -> SubscriptionCost:
    data_dir = folder / f"subscriptions-{count}"
    environ = {
        "CAKE_SOURCE_ALLOW": "127.0.0.0/8",
        "CAKE_MAX_SUBSCRIPTIONS": str(max(1, count)),
        "CAKE_DEFAULT_MODEL": Path(model).name,
    }
    async with served_on_one_core(data_dir, Path(model), environ) as server, _receiving() as receiver:
        store = open_store(f"sqlite://{data_dir / 'cake.db'}")
        try:
            async with _own_sessions(store, max(1, count // len(LABELS))) as sessions:
                for number in range(count):
                    session, label = sessions[number // len(LABELS)], LABELS[number % len(LABELS)]
                    await _subscribe(server, receiver.url, session.id, label)
                followed_s: list[float] = []
                async with (
                    background_task(_publish(store, sessions, rate_hz)),
                    background_task(_follow(server.websocket_url("/v1/events"), followed_s)),
                ):
                    await asyncio.sleep(LEAD_S)
                    followed_s.clear()
                    receiver.latencies_s.clear()
                    usage = await measure_usage(server.pid, window_s)
                    delivered_s, websocket_s = list(receiver.latencies_s), list(followed_s)
        finally:
            await store.close()
    webhook_p50_ms, webhook_p95_ms = percentiles_ms(delivered_s, (50, 95)) if delivered_s else (None, None)
    websocket_p50_ms, websocket_p95_ms = percentiles_ms(websocket_s, (50, 95))
    return SubscriptionCost(
        subscriptions=count,
        events_per_s=round(len(websocket_s) / window_s, 1),
        delivered=len(delivered_s),
        webhook_p50_ms=webhook_p50_ms,
        webhook_p95_ms=webhook_p95_ms,
        websocket_p50_ms=websocket_p50_ms,
        websocket_p95_ms=websocket_p95_ms,
        core_share=usage.core_share,
        memory_mb=usage.memory_mb,
    )


@asynccontextmanager
async def _own_sessions(store: Store, count: int) -> AsyncIterator[list[SessionRecord]]:
    """Sessions that belong to a worker which exists in the store only."""
    info = ModelInfo(name=MODEL, version="bench", labels=list(LABELS), sample_hz=10, image_size=96)
    worker_id = f"bench-{uuid.uuid4().hex[:8]}"
    await store.workers.register(WorkerInfo(worker_id, 1e6, (info,)))
    sessions: list[SessionRecord] = []
    for _ in range(count):
        record = SessionRecord(
            id=f"bench-{uuid.uuid4()}",
            source=StoredPush(),
            model=MODEL,
            model_version="bench",
            labels=LABELS,
            pace="realtime",
            cost_steps_per_s=10,
            created_at=datetime.now(UTC),
        )
        await store.sessions.create(record, max_queued=10**6, may_wait=True)
        claimed = await store.workers.claim(worker_id)
        assert claimed is not None
        sessions.append(claimed)
    async with background_task(_renew(store, worker_id)):
        yield sessions


async def _renew(store: Store, worker_id: str) -> None:
    while True:
        await asyncio.sleep(LEASE_S / 4)
        await store.workers.renew(worker_id)


async def _subscribe(server: RunningServer, url: str, session_id: str, label: str) -> None:
    body = {
        "target": {"kind": "webhook", "url": url},
        "filter": {"type": ["action.start"], "session": [session_id], "label": [label]},
    }
    answer = await server.client.post("/v1/subscriptions", json=body)
    if answer.is_error:
        raise ServerFailedError(f"The server took no subscription: {answer.text}")


async def _publish(store: Store, sessions: list[SessionRecord], rate_hz: float) -> None:
    """Commit one start at a time, for each session and label in turn."""
    began_s, began_unix_ms = time.monotonic(), round(time.time() * 1000)
    for number in range(10**9):
        await asyncio.sleep(max(0.0, began_s + number / rate_hz - time.monotonic()))
        session = sessions[number % len(sessions)]
        media_ms = began_unix_ms + number
        event = ActionStartEvent(
            id=f"{media_ms}-0",
            session_id=session.id,
            decided_s=media_ms / 1000,
            time=datetime.now(UTC),
            model=MODEL,
            model_version="bench",
            label=LABELS[number // len(sessions) % len(LABELS)],
            score=0.9,
            start_s=media_ms / 1000,
            latency_s=Latency(decode=0.0, queue=0.0, infer=0.0, total=0.0),
        )
        await store.log.commit(session.id, session.token, events=[event])


async def _follow(url: str, latencies_s: list[float]) -> None:
    async with connect(url) as socket:
        async for text in socket:
            event = LogEntry.model_validate_json(text).event
            latencies_s.append(time.time() - event.time.timestamp())


@asynccontextmanager
async def _receiving() -> AsyncIterator[_Receiver]:
    """A webhook receiver that responds immediately, on connections that stay open."""

    async def receive(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                event = ActionStartEvent.model_validate_json(await reader.readexactly(length))
                receiver.latencies_s.append(time.time() - event.time.timestamp())
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    receiver = _Receiver("")
    listening = await asyncio.start_server(receive, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/hook"
    try:
        yield receiver
    finally:
        listening.close()
