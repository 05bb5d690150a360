"""A whole deployment in separate processes: Redis, a bucket, servers and workers, each with a folder to itself."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from websockets.asyncio.client import connect

from service.event_schemas import EVENT, Event
from service.schemas import ENDED_STATES, Session
from tests.support.bucket_server import bucket_server
from tests.support.redis_server import RedisServer, redis_server
from tests.support.running_server import Child, child_server, free_port


@dataclass
class WorkerProcess:
    """A `cake worker`."""

    process: Process
    url: str

    def kill(self) -> None:
        self.process.kill()

    async def drain(self) -> int:
        """Its exit status after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()

    async def metrics(self) -> str:
        async with httpx.AsyncClient(timeout=120) as http:
            return (await http.get(f"{self.url}/metrics")).text


@dataclass
class Deployment:
    redis: RedisServer
    environ: dict[str, str]
    folder: Path
    servers: list[Child] = field(default_factory=list)
    workers: list[WorkerProcess] = field(default_factory=list)

    async def start_worker(self) -> WorkerProcess:
        """Begun; `ready` waits for it."""
        port = free_port()
        data_dir = self.folder / f"worker-{port}"
        with (self.folder / f"{data_dir.name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "service.worker"),
                stdin=DEVNULL,
                stderr=log,
                env={**os.environ, **self.environ, "CAKE_DATA_DIR": str(data_dir), "CAKE_WORKER_PORT": str(port)},
            )
        worker = WorkerProcess(process, f"http://127.0.0.1:{port}")
        self.workers.append(worker)
        return worker

    async def ready(self) -> None:
        """Every worker that still runs takes sessions."""
        async with asyncio.timeout(300), httpx.AsyncClient(timeout=120) as http:
            for worker in self.workers:
                while worker.process.returncode is None:
                    try:
                        if (await http.get(f"{worker.url}/readyz")).status_code == 200:
                            break
                    except httpx.TransportError:
                        pass
                    await asyncio.sleep(0.1)

    async def replace_ended_workers(self) -> None:
        """Returns when as many workers as before are ready."""
        ended = [worker for worker in self.workers if worker.process.returncode is not None]
        for worker in ended:
            self.workers.remove(worker)
            await self.start_worker()
        await self.ready()

    async def upload(self, video: Path, *, server: int = 0, **options: object) -> Session:
        url = f"{self.servers[server].url}/v1/sessions"
        content = await asyncio.to_thread(video.read_bytes)
        files = {"file": content, "session": (None, json.dumps(options), "application/json")}
        async with httpx.AsyncClient(timeout=120) as http:
            answer = await http.post(url, files=files)  # type: ignore[arg-type]
        assert answer.status_code == 202, answer.text
        return Session.model_validate(answer.json())

    async def session(self, session_id: str, *, server: int = 0) -> Session:
        async with httpx.AsyncClient(timeout=120) as http:
            answer = await http.get(f"{self.servers[server].url}/v1/sessions/{session_id}")
        return Session.model_validate(answer.json())

    async def follow(self, session_id: str, *, server: int = 0, after: str | None = None) -> AsyncIterator[Event]:
        """Its events as a WebSocket client of that server gets them, to the end of the session."""
        query = "" if after is None else f"?after={after}"
        url = f"{self.servers[server].url.replace('http', 'ws', 1)}/v1/sessions/{session_id}/events{query}"
        async with connect(url) as socket:
            async for message in socket:
                event = EVENT.validate_json(message)
                yield event
                if event.type == "session.state" and event.state in ENDED_STATES:
                    return


@asynccontextmanager
async def deployment(
    folder: Path,
    model: Path,
    *,
    servers: int = 2,
    workers: int = 3,
    settings: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    prelude: str = "",
) -> AsyncIterator[Deployment]:
    """Ready; `settings` are environment variables without their prefix, `environ` further ones.

    Servers run the program `prelude` first.
    """
    (folder / "redis").mkdir(parents=True)
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(redis_server(folder / "redis"))
        bucket = stack.enter_context(bucket_server())
        chosen = {
            "STORE_URL": redis.url,
            "BLOB_URL": bucket.url,
            "MODELS": str(model),
            "DEFAULT_MODEL": "tiny",
            "PRECISION": "float32",
            "WORKER_CAPACITY_STEPS_PER_S": "200",
            "SOURCE_ALLOW": "127.0.0.0/8",
            **(settings or {}),
        }
        environ = {f"CAKE_{name}": value for name, value in chosen.items()} | bucket.environ | dict(environ or {})
        deployed = Deployment(redis, environ, folder)
        try:
            for number in range(servers):
                server = child_server(folder / f"server-{number}", environ=environ, prelude=prelude)
                deployed.servers.append(await stack.enter_async_context(server))
            for _ in range(workers):
                await deployed.start_worker()
            await deployed.ready()
            yield deployed
        finally:
            for worker in deployed.workers:
                if worker.process.returncode is None:
                    worker.kill()
                await worker.process.wait()
