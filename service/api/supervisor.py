"""Worker processes of an embedded server: started, restarted when they die, stopped and reaped at exit."""

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
from service.store.protocols import Workers

WORKER_COMMAND = (sys.executable, "-m", "service.worker")
STOP_TIMEOUT_S = 5.0
FIRST_DELAY_S, LONGEST_DELAY_S = 0.2, 30.0
STABLE_S = 30.0
MISCONFIGURED = 2
"""Exit status of a worker that cannot start with its settings: starting it again would not help."""
_log = structlog.get_logger(__name__)


class WorkerConfigurationError(Exception):
    """A worker cannot start with these settings, for example because a model cannot be loaded; it logged why."""


class FolderInUseError(Exception):
    """Another server uses the data folder."""


@contextmanager
def lock_folder(data_dir: Path) -> Iterator[None]:
    """Lock the data folder for this server; the kernel unlocks it when the process dies. Raises FolderInUseError."""
    with (data_dir / "serve.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderInUseError(
                f"Another server uses the data folder {data_dir.resolve()}. Stop it, or choose another folder with"
                " --data-dir."
            ) from error
        yield


def embedded_prefix(data_dir: Path) -> str:
    """Prefix of the ids of workers that a server of this folder starts; other servers may share its store."""
    place = f"{socket.gethostname()}:{data_dir.resolve()}"
    return f"embedded-{hashlib.sha256(place.encode()).hexdigest()[:8]}-"


def next_delay_s(delay_s: float, lived_s: float) -> float:
    """Backoff before the next start of a worker that was started after `delay_s` and ran for `lived_s`."""
    return FIRST_DELAY_S if lived_s >= STABLE_S else min(LONGEST_DELAY_S, max(FIRST_DELAY_S, delay_s * 2))


class Supervisor:
    """Keeps `settings.workers` child processes running.

    Each child gets the settings in its environment, and a pipe as standard input, which closes when this process dies
    for any reason: a worker exits when its standard input ends.
    """

    def __init__(
        self, settings: Settings, workers: Workers, restarts: Counter, *, command: Sequence[str] | None = None
    ) -> None:
        self._settings = settings
        self._workers = workers
        self._restarts = restarts
        self._command = command or WORKER_COMMAND
        self._id_prefix = embedded_prefix(settings.data_dir)

    async def run(self) -> None:
        """Run until cancelled; all children are stopped and reaped before this returns."""
        await self._release_leftovers()
        async with asyncio.TaskGroup() as group:
            for slot in range(self._settings.workers):
                group.create_task(self._keep(slot))

    async def _release_leftovers(self) -> None:
        """Release the workers of a killed server of this folder, so that their sessions resume at once."""
        try:
            leftovers = [worker.id for worker in await self._workers.live() if worker.id.startswith(self._id_prefix)]
        except ServiceError as error:
            _log.warning("could not list stale workers", error=error.detail)
            return
        for worker_id in leftovers:
            await self._release(worker_id)

    async def _keep(self, slot: int) -> None:
        """Run a worker and restart it whenever it exits."""
        delay_s = 0.0
        while True:
            await asyncio.sleep(delay_s)
            worker_id = f"{self._id_prefix}{slot}-{uuid.uuid4().hex[:8]}"
            started_s = time.monotonic()
            try:
                exit_status = await self._run(worker_id)
                if exit_status == MISCONFIGURED and delay_s == 0.0:
                    raise WorkerConfigurationError
                status = f"exit status {exit_status}"
            except OSError as error:
                status = f"could not be started: {error}"
            self._restarts.inc()
            delay_s = next_delay_s(delay_s, time.monotonic() - started_s)
            _log.error("worker died", worker=worker_id, status=status, restart_in_s=delay_s)

    async def _run(self, worker_id: str) -> int:
        """Return the exit status of one worker. On cancellation the worker is stopped first."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            env={**os.environ, **self._settings.environ(), **self._own_environ(worker_id)},
            # Ctrl-C in a terminal signals the whole process group, but this process stops the workers itself, in order.
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
            # Ports are for standalone workers; this server exports the metrics of its children.
            "CAKE_WORKER_PORT": "",
            "CAKE_WORKER_PUSH_PORT": "",
            "PROMETHEUS_MULTIPROC_DIR": str(self._settings.metrics_dir.resolve()),
        }

    async def _release(self, worker_id: str) -> None:
        """Release a worker's sessions. If this fails they resume when the lease expires, so a warning suffices."""
        try:
            await self._workers.release(worker_id)
        except ServiceError as error:
            _log.warning("could not release worker", worker=worker_id, error=error.detail)


async def _stop(process: Process) -> None:
    """Terminate, then kill, then reap the worker; its process group takes its own children with it."""
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
