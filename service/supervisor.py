"""Worker processes of embedded mode: started, restarted when they die, stopped and reaped at the end."""

import asyncio
import fcntl
import hashlib
import os
import signal
import socket
import sys
import time
import uuid
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog
from prometheus_client import Counter
from prometheus_client.multiprocess import mark_process_dead

from service.errors import ServiceError
from service.settings import Settings
from service.store.base import Store

WORKER_COMMAND = (sys.executable, "-m", "service.worker_process")
STOP_PATIENCE_S = 5.0
FIRST_DELAY_S, LONGEST_DELAY_S = 0.2, 30.0
STABLE_S = 30.0
_log = structlog.get_logger(__name__)


class FolderInUse(Exception):
    """Another server uses the data folder."""


@contextmanager
def lock_folder(data_dir: Path) -> Iterator[None]:
    """Hold the data folder for this server alone; the kernel lets go when the process dies. Raises FolderInUse."""
    with (data_dir / "serve.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderInUse(f"Another server uses {data_dir}; stop it or set CAKE_DATA_DIR.") from error
        yield


def embedded_prefix(data_dir: Path) -> str:
    """How the ids of workers begin that a server of this folder starts; others may share its store."""
    place = f"{socket.gethostname()}:{data_dir.resolve()}"
    return f"embedded-{hashlib.sha256(place.encode()).hexdigest()[:8]}-"


def next_delay_s(delay_s: float, lived_s: float) -> float:
    """How long to wait before the next start of a worker that lived for `lived_s` and was started after `delay_s`."""
    return FIRST_DELAY_S if lived_s >= STABLE_S else min(LONGEST_DELAY_S, max(FIRST_DELAY_S, delay_s * 2))


class Supervisor:
    """Keeps `settings.workers` children running while `run` does.

    Each child gets the settings in its environment and a pipe as standard input that closes when this process dies,
    however it dies: a worker whose input ends must exit.
    """

    def __init__(
        self, settings: Settings, store: Store, restarts: Counter, *, command: Sequence[str] | None = None
    ) -> None:
        self._settings = settings
        self._store = store
        self._restarts = restarts
        self._command = command or WORKER_COMMAND
        self._id_prefix = embedded_prefix(settings.data_dir)

    async def run(self) -> None:
        """Until cancelled; then all children are stopped and reaped before this returns."""
        await self._release_leftovers()
        async with asyncio.TaskGroup() as group:
            for slot in range(self._settings.workers):
                group.create_task(self._keep(slot))

    async def _release_leftovers(self) -> None:
        """Of a server of this folder that was killed: their sessions go on now and not when the leases end."""
        try:
            leftovers = [worker.id for worker in await self._store.workers() if worker.id.startswith(self._id_prefix)]
        except ServiceError as error:
            _log.warning("workers of an earlier server not looked for", error=error.detail)
            return
        for worker_id in leftovers:
            await self._release(worker_id)

    async def _keep(self, slot: int) -> None:
        """Run one worker after the other."""
        delay_s = 0.0
        while True:
            await asyncio.sleep(delay_s)
            worker_id = f"{self._id_prefix}{slot}-{uuid.uuid4().hex[:8]}"
            started_s = time.monotonic()
            try:
                status = f"exit status {await self._run(worker_id)}"
            except OSError as error:
                status = f"not started: {error}"
            self._restarts.inc()
            delay_s = next_delay_s(delay_s, time.monotonic() - started_s)
            _log.error("worker died", worker=worker_id, status=status, restart_in_s=delay_s)

    async def _run(self, worker_id: str) -> int:
        """The exit status of one worker; when this is cancelled, the worker is stopped first."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            env={**os.environ, **self._settings.environ(), **self._own_environ(worker_id)},
            # Ctrl-C in a terminal goes to its whole group; the workers shall be stopped in order, by this process.
            start_new_session=True,
        )
        _log.info("worker started", worker=worker_id, pid=process.pid)
        try:
            return await process.wait()
        finally:
            await _stop(process)
            mark_process_dead(process.pid, str(self._settings.metrics_dir))  # type: ignore[no-untyped-call]
            await self._release(worker_id)

    def _own_environ(self, worker_id: str) -> dict[str, str]:
        return {
            "CAKE_WORKER_ID": worker_id,
            # Ports are for a worker that runs alone; this server tells the metrics of its children.
            "CAKE_WORKER_PORT": "",
            "CAKE_WORKER_PUSH_PORT": "",
            "PROMETHEUS_MULTIPROC_DIR": str(self._settings.metrics_dir.resolve()),
        }

    async def _release(self, worker_id: str) -> None:
        """Without this the sessions wait until the lease ends: worth a log line, no more."""
        try:
            await self._store.release_worker(worker_id)
        except ServiceError as error:
            _log.warning("worker not released", worker=worker_id, error=error.detail)


async def _stop(process: Process) -> None:
    """Ask, then kill, and reap; what the worker itself had started goes with its process group."""
    if process.returncode is None:
        process.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), STOP_PATIENCE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    if process.stdin is not None:
        process.stdin.close()
