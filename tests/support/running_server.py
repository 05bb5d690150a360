"""A real server on a free port of 127.0.0.1, in this process or in a child, and a stand-in for its worker."""

import asyncio
import itertools
import os
import signal
import socket
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx

from service.api.server import Server
from service.background import background_task
from service.errors import ServiceError
from service.event_schemas import ActionEndEvent, ActionStartEvent, Event, Latency, next_event_id
from service.listening import listen
from service.schemas import FailureCode, Session, SessionState
from service.server_schemas import ModelInfo
from service.settings import Settings
from service.store import open_store
from service.store.protocols import Store
from service.store.records import SessionRecord, SessionUpdate, state_event
from service.store.worker_records import LEASE_S, LeaseLostError, WorkerInfo
from tests.support.small_disk import on_small_disk

MODEL = ModelInfo(name="mocap", version="abc123", labels=["kick", "jump", "walk"], sample_hz=10, image_size=96)
SECRET_URL = "http://user:hunter2@example.org/clip.mp4?token=hunter2"


@dataclass
class Worker:
    """Commits to the store like a worker, step by step as a test says."""

    store: Store
    id: str = "w1"
    capacity_steps_per_s: float = 100.0
    records: dict[str, SessionRecord] = field(default_factory=dict)
    is_released: bool = False

    async def register(self) -> None:
        self.is_released = False
        await self.store.workers.register(WorkerInfo(self.id, self.capacity_steps_per_s, (MODEL,)))

    async def release(self) -> None:
        """Be gone until it is registered again."""
        self.is_released = True
        await self.store.workers.release(self.id)

    @asynccontextmanager
    async def registered(self) -> AsyncIterator[None]:
        """Be live, however slow the machine is."""
        await self.register()
        async with background_task(self._renew_forever()):
            yield

    async def _renew_forever(self) -> None:
        while True:
            await asyncio.sleep(LEASE_S / 4)
            with suppress(ServiceError):
                try:
                    await self.store.workers.renew(self.id)
                except LeaseLostError:
                    if not self.is_released:
                        await self.register()

    async def claim(self) -> SessionRecord:
        """Claim the next queued session; there must be one."""
        record = await self.store.workers.claim(self.id)
        assert record is not None
        self.records[record.id] = record
        return record

    async def starts(self, session_id: str, times_s: Sequence[float]) -> list[Event]:
        """Commit one action start for each media time."""
        record = self.records[session_id]
        events: list[Event] = []
        last = record.last_event_id
        for decided_s in times_s:
            last = next_event_id(last, decided_s)
            events.append(start_event(record, last, decided_s))
        await self._commit(record, events, SessionUpdate(position_s=times_s[-1]))
        return events

    async def ends(self, session_id: str, *, start_s: float, end_s: float, score: float = 0.9) -> Event:
        """Commit the end of an action."""
        record = self.records[session_id]
        start = start_event(record, next_event_id(record.last_event_id, end_s), end_s)
        fields = start.model_dump(exclude={"type", "score", "start_s"})
        event = ActionEndEvent(**fields, score=score, start_s=start_s, end_s=end_s)
        await self._commit(record, [event], SessionUpdate(position_s=end_s))
        return event

    async def enter(
        self, session_id: str, state: SessionState, *, code: FailureCode | None = None, detail: str | None = None
    ) -> Event:
        """Commit a state of a claimed session, and return its event."""
        record = self.records[session_id]
        event = state_event(record, state, time=datetime.now(UTC), code=code, detail=detail)
        await self._commit(record, [event], SessionUpdate(state=state, code=code, detail=detail))
        return event

    async def _commit(self, record: SessionRecord, events: list[Event], update: SessionUpdate) -> None:
        await self.store.log.commit(record.id, record.token, events=events, update=update)
        self.records[record.id] = (await self.store.sessions.get(record.id)).model_copy(update={"token": record.token})


def start_event(record: SessionRecord, event_id: str, decided_s: float) -> ActionStartEvent:
    """A start that was decided at once at this media time, in seconds."""
    return ActionStartEvent(
        id=event_id,
        session_id=record.id,
        decided_s=decided_s,
        time=datetime.now(UTC),
        model=record.model,
        model_version=record.model_version,
        name=record.name,
        metadata=record.metadata,
        label="kick",
        score=0.9,
        start_s=decided_s,
        latency_s=Latency(decode=0.004, queue=0.012, infer=0.007, total=0.031),
    )


@dataclass(frozen=True)
class Running:
    """A server in this process, its client, and a worker that shares its store."""

    url: str
    http: httpx.AsyncClient
    worker: Worker
    settings: Settings
    own_key: str

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    async def submit(self, **options: object) -> Session:
        response = await self.http.post("/v1/sessions", json={"source": {"url": SECRET_URL}, **options})
        assert response.status_code == 202, response.text
        return Session.model_validate(response.json())

    async def running_session(self) -> Session:
        session = await self.submit()
        await self.worker.claim()
        await self.worker.enter(session.id, "running")
        return session


@asynccontextmanager
async def running_server(data_dir: Path, **options: object) -> AsyncIterator[Running]:
    """A server at a free port without workers; `options` are settings."""
    settings = Settings.model_validate({"data_dir": data_dir, "workers": 0, "source_allow": "127.0.0.0/8", **options})
    server = Server(settings)
    listener = listen(settings.host, settings.port if "port" in options else 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await until(lambda: server.started or serving.done())
        store = open_store(settings.resolved_store_url)
        try:
            worker = Worker(store)
            client = httpx.AsyncClient(base_url=url, timeout=120, verify=False)
            async with worker.registered(), client:
                yield Running(url, client, worker, settings, server.own_key)
        finally:
            await store.close()
    finally:
        server.should_exit = True
        await serving


SERVE = """
import resource, sys, uvloop
import service.api.embedded_worker
from service.api.server import Server
from service.listening import listen
from service.settings import Settings
from service.observability.logs import configure_logging
if int(sys.argv[2]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
configure_logging(Settings().log_level, as_json=True)
service.api.embedded_worker.WORKER_COMMAND = (sys.executable, *sys.argv[3:])
uvloop.run(Server(Settings()).serve(sockets=[listen("127.0.0.1", int(sys.argv[1]))]))
"""


@asynccontextmanager
async def connection(server: Running) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    """A TCP connection to the server, without a goodbye at its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(server.url).port)
    yield reader, writer
    writer.transport.abort()


@dataclass(frozen=True)
class Child:
    """A server in a child process."""

    process: Process
    url: str
    log: Path

    async def ready(self, path: str = "/livez") -> None:
        """Wait until the path answers with 200. Fails if the process ends before."""
        async with httpx.AsyncClient(base_url=self.url, verify=False, timeout=120) as client:
            for _ in itertools.count():
                assert self.process.returncode is None, self.log.read_text()
                try:
                    if (await client.get(path)).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)


@asynccontextmanager
async def child_server(
    data_dir: Path,
    *,
    port: int | None = None,
    max_file_bytes: int = 0,
    worker: str | None = None,
    disk_bytes: int = 0,
    environ: Mapping[str, str] | None = None,
    prelude: str = "",
) -> AsyncIterator[Child]:
    """A server that a test may kill, with one worker that runs the program `worker`, or none.

    `max_file_bytes` imitates a full disk: no file of the server can grow beyond. With `disk_bytes`, the data folder
    is a disk of that size, which only the server sees.
    """
    port = port or free_port()
    log = data_dir.parent / f"{data_dir.name}.log"
    with log.open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(on_small_disk(data_dir, disk_bytes) if disk_bytes else ()),
            *(sys.executable, "-c", f"{prelude}\n{SERVE}", str(port), str(max_file_bytes), "-c", worker or ""),
            stdin=PIPE,
            stderr=stderr,
            env={
                **os.environ,
                "CAKE_DATA_DIR": str(data_dir),
                "CAKE_WORKERS": "1" if worker else "0",
                **(environ or {}),
            },
        )
    child = Child(process, f"http://127.0.0.1:{port}", log)
    try:
        async with asyncio.timeout(180):
            await child.ready()
        yield child
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()
        assert process.stdin is not None
        process.stdin.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something without an event: a file, a process."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


_reserved: list[socket.socket] = []


def free_port() -> int:
    """A port that no other process gets until a server, with SO_REUSEADDR as usual, listens there by its number.

    It stays reserved for this process's life, so that a server can die, and return, without losing it.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _reserved.append(held)
    return int(held.getsockname()[1])
