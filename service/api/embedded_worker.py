"""The process of an embedded worker: started with the server's settings, stopped with its children.

It imports little, so that the first workers start before the server imports the libraries of its web application.
"""

import asyncio
import hashlib
import os
import signal
import socket
import sys
import uuid
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from service.settings import Settings

WORKER_COMMAND = (sys.executable, "-m", "service.worker")
STOP_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class EmbeddedWorker:
    """A worker that was started. Its id names it in the store."""

    id: str
    process: Process


@asynccontextmanager
async def first_workers(settings: Settings) -> AsyncIterator[Mapping[int, EmbeddedWorker]]:
    """The workers of a server, by their slots. `Supervisor` takes them over, and starts those that are missing; at the
    end of the context, none of them runs.
    """
    workers: dict[int, EmbeddedWorker] = {}
    try:
        with suppress(OSError):  # The supervisor tries again, and logs it.
            for slot in range(settings.workers):
                workers[slot] = await start_worker(settings, slot)
        yield workers
    finally:
        for worker in workers.values():
            if worker.process.returncode is None:
                await stop_worker(worker)


async def start_worker(settings: Settings, slot: int, command: Sequence[str] | None = None) -> EmbeddedWorker:
    """Start a worker with the settings in its environment.

    Its standard input is a pipe, which closes when this process dies for any reason: a worker exits when its standard
    input ends. Raises OSError.
    """
    worker_id = f"{embedded_prefix(settings.data_dir)}{slot}-{uuid.uuid4().hex[:8]}"
    process = await asyncio.create_subprocess_exec(
        *(command or WORKER_COMMAND),
        stdin=PIPE,
        env={**os.environ, **settings.environ(), **_own_environ(settings, worker_id)},
        # Ctrl-C in a terminal signals the whole process group, but the server stops its workers itself, in order.
        start_new_session=True,
    )
    return EmbeddedWorker(worker_id, process)


async def stop_worker(worker: EmbeddedWorker) -> None:
    """Terminate, then kill, then reap the worker; its process group takes its own children with it."""
    process = worker.process
    if process.returncode is None:
        process.terminate()
    exited = asyncio.create_task(process.wait())
    # Not asyncio.timeout: up to Python 3.11.2 it raises CancelledError in a task that cleans up after a cancellation.
    await asyncio.wait([exited], timeout=STOP_TIMEOUT_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await exited
    if process.stdin is not None:
        process.stdin.close()


def embedded_prefix(data_dir: Path) -> str:
    """Prefix of the ids of workers that a server of this folder starts; other servers may share its store."""
    place = f"{socket.gethostname()}:{data_dir.resolve()}"
    return f"embedded-{hashlib.sha256(place.encode()).hexdigest()[:8]}-"


def _own_environ(settings: Settings, worker_id: str) -> dict[str, str]:
    return {
        "CAKE_WORKER_ID": worker_id,
        # Ports are for standalone workers; this server exports the metrics of its children.
        "CAKE_WORKER_PORT": "",
        "CAKE_WORKER_PUSH_PORT": "",
        "PROMETHEUS_MULTIPROC_DIR": str(settings.metrics_dir.resolve()),
    }
