"""The deployment that is disturbed: replicated Redis with Sentinels, a bucket, servers, workers, cameras, receivers."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.endurance.chaos.program import Program
from tests.endurance.chaos.receivers import Receivers, receivers
from tests.support.bucket_server import bucket_server
from tests.support.redis_server import ReplicatedRedis, replicated_redis
from tests.support.rtsp_server import RtspServer, rtsp_server
from tests.support.running_server import free_port
from tests.support.small_disk import has_small_disks

SERVERS, WORKERS = 2, 3
REPLICATION = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "2")


@dataclass
class Scene:
    redis: ReplicatedRedis
    cameras: RtspServer
    receivers: Receivers
    folder: Path
    environ: dict[str, str]
    rng: random.Random
    has_small_disks: bool
    servers: list[Program] = field(default_factory=list)
    workers: list[Program] = field(default_factory=list)

    @property
    def urls(self) -> list[str]:
        return [server.url for server in self.servers]

    async def start_server(self) -> None:
        port = free_port()
        environ = {**self.environ, "CAKE_PORT": str(port), "CAKE_WORKERS": "0"}
        self.servers.append(self._program(f"server-{len(self.servers)}", "service.cli", port, environ, "serve"))
        await self.servers[-1].start()

    async def start_worker(self) -> Program:
        port = free_port()
        environ = {**self.environ, "CAKE_WORKER_PORT": str(port)}
        worker = self._program(f"worker-{len(self.workers)}", "service.worker", port, environ)
        self.workers.append(worker)
        await worker.start()
        return worker

    async def aclose(self) -> None:
        await asyncio.gather(*(program.kill() for program in (*self.servers, *self.workers)))

    def _program(self, name: str, module: str, port: int, environ: dict[str, str], *arguments: str) -> Program:
        url = f"http://127.0.0.1:{port}"
        return Program(name, (module, *arguments), url, self.folder, environ, disk=self.has_small_disks)


@asynccontextmanager
async def scene(folder: Path, model: Path, rng: random.Random) -> AsyncIterator[Scene]:
    """Ready."""
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(replicated_redis(folder, *REPLICATION, replicas=2, sentinels=3, down_after_s=1.5))
        bucket = stack.enter_context(bucket_server())
        settings = {
            "STORE_URL": redis.url,
            "BLOB_URL": bucket.url,
            "MODELS": str(model),
            "PRECISION": "float32",
            "WORKER_CAPACITY_STEPS_PER_S": "150",
            "SOURCE_ALLOW": "127.0.0.0/8",
            "MIN_FREE_BYTES": str(4 * 1024**2),
            "LOG_JSON": "true",
        }
        environ = {f"CAKE_{name}": value for name, value in settings.items()} | bucket.environ
        cameras, hooks = stack.enter_context(rtsp_server()), stack.enter_context(receivers())
        built = Scene(redis, cameras, hooks, folder, environ, rng, has_small_disks(folder / "probe"))
        stack.push_async_callback(built.aclose)
        for _ in range(SERVERS):
            await built.start_server()
        for _ in range(WORKERS):
            await built.start_worker()
        for program in (*built.servers, *built.workers):
            await program.ready("/readyz")
        yield built
