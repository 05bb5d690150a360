"""Helpers for the tests of pushed video: a server and a worker in this process, and sessions that wait for a stream."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from websockets.asyncio.client import ClientConnection

from service.event_schemas import Event, event_key
from service.observability.telemetry import WorkerMetrics
from service.push.gate import open_gate
from service.schemas import Session
from service.session.context import WorkerContext
from service.session.engine import Engine
from service.storage.blobs import Blobs
from service.store.protocols import Store
from service.store.records import SessionRecord
from service.worker.worker import Worker
from tests.support.running_server import Running, running_server
from tests.support.session_kit import a_worker
from tests.support.tiny_model import load

CHUNK_BYTES = 2000


@dataclass(frozen=True)
class Pushing:
    """A server, a worker of the tiny model, and pushed sessions."""

    server: Running
    model: Path

    @property
    def store(self) -> Store:
        return self.server.worker.store

    async def submit(self, *, max_down_s: float | None = None, pace: str = "fast") -> Session:
        source = {"push": True} | ({} if max_down_s is None else {"max_down_s": max_down_s})
        answer = await self.server.http.post("/v1/sessions", json={"source": source, "pace": pace})
        assert answer.status_code == 202, answer.text
        return Session.model_validate(answer.json())

    async def put(self, session: Session, content: bytes | AsyncIterator[bytes]) -> httpx.Response:
        """Send the stream over HTTP and return the answer."""
        assert session.links.stream is not None
        return await self.server.http.put(session.links.stream, content=content)

    async def reaches(self, session: Session, is_so: Callable[[SessionRecord], bool]) -> SessionRecord:
        """Wait for a commit after which the condition holds."""
        async with asyncio.timeout(180):
            while not is_so(record := await self.store.sessions.get(session.id)):
                await self.store.log.wait(await self.store.log.end(), timeout_s=0.05)
        return record

    async def ends(self, session: Session) -> SessionRecord:
        """Wait until the session has ended."""
        return await self.reaches(session, lambda record: record.ended_at is not None)

    async def events(self, session: Session) -> list[Event]:
        return await self.store.log.read_events(session.id)

    @asynccontextmanager
    async def worker(self, worker_id: str = "real") -> AsyncIterator[None]:
        """A worker that is known to the server; when the context ends it hands its sessions over."""
        detector, metrics, stop = load(self.model), WorkerMetrics(CollectorRegistry()), asyncio.Event()
        async with Engine({"tiny": detector}, metrics) as engine, open_gate() as gate:
            blobs = Blobs(None, self.server.settings.data_dir)
            context = WorkerContext(self.store, engine, metrics, self.server.settings, gate, blobs)
            worker = Worker(a_worker(detector, worker_id), context)
            running = asyncio.create_task(worker.run(stop))
            async with asyncio.timeout(180):
                while worker_id not in {known.id for known in await self.store.workers.live()}:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            try:
                yield
            finally:
                stop.set()
                await running


@asynccontextmanager
async def pushing(folder: Path, model: Path, **options: object) -> AsyncIterator[Pushing]:
    """The server, without a worker. It is patient with workers on a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.api.push.CONNECT_TIMEOUT_S", 60.0)
        async with running_server(
            folder / "data", models=(str(model),), default_model="tiny", source_timeout_s=60.0, **options
        ) as server:
            yield Pushing(server, model)


async def in_chunks(video: bytes, *, chunk_bytes: int = CHUNK_BYTES) -> AsyncIterator[bytes]:
    """The video in pieces of at most `chunk_bytes`."""
    for start in range(0, len(video), chunk_bytes):
        yield video[start : start + chunk_bytes]


def ws_url(pushed: Pushing, session: Session) -> str:
    return f"{pushed.server.ws_url}{session.links.stream}"


async def assert_rising(pushed: Pushing, session: Session) -> None:
    """The session's events have rising ids, each once."""
    keys = [event_key(event.id) for event in await pushed.events(session)]
    assert keys == sorted(set(keys))


async def slowly(stream: bytes, go_on: asyncio.Event) -> AsyncIterator[bytes]:
    """The first half, and the rest once the event is set."""
    yield stream[: len(stream) // 2]
    await go_on.wait()
    yield stream[len(stream) // 2 :]


async def send(socket_: ClientConnection, stream: bytes) -> None:
    """Send the stream in messages."""
    async for chunk in in_chunks(stream):
        await socket_.send(chunk)
