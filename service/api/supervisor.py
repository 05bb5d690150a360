"""Keeps the worker processes of an embedded server running: starts them, and restarts those that die."""

import asyncio
import time
from collections.abc import Mapping, Sequence

import structlog
from prometheus_client import Counter
from prometheus_client.multiprocess import mark_process_dead

from service.api.embedded_worker import EmbeddedWorker, embedded_prefix, start_worker, stop_worker
from service.errors import ServiceError
from service.settings import Settings
from service.store.protocols import Workers

FIRST_DELAY_S, LONGEST_DELAY_S = 0.2, 30.0
STABLE_S = 30.0
MISCONFIGURED = 2
"""Exit status of a worker that cannot start with its settings: starting it again would not help."""
_log = structlog.get_logger(__name__)


class WorkerConfigurationError(Exception):
    """A worker cannot start with these settings, for example because a model cannot be loaded; it logged why."""


def next_delay_s(delay_s: float, lived_s: float) -> float:
    """Backoff before the next start of a worker that was started after `delay_s` and ran for `lived_s`."""
    return FIRST_DELAY_S if lived_s >= STABLE_S else min(LONGEST_DELAY_S, max(FIRST_DELAY_S, delay_s * 2))


class Supervisor:
    """Keeps `settings.workers` child processes running, of which some may have been started already, by slot."""

    def __init__(
        self,
        settings: Settings,
        workers: Workers,
        restarts: Counter,
        started: Mapping[int, EmbeddedWorker],
        *,
        command: Sequence[str] | None = None,
    ) -> None:
        self._settings = settings
        self._workers = workers
        self._restarts = restarts
        self._started = started
        self._command = command

    async def run(self) -> None:
        """Run until cancelled; all children are stopped and reaped before this returns."""
        await self._release_leftovers()
        async with asyncio.TaskGroup() as group:
            for slot in range(self._settings.workers):
                group.create_task(self._keep(slot, self._started.get(slot)))

    async def _release_leftovers(self) -> None:
        """Release the workers of a killed server of this folder, so that their sessions resume at once."""
        prefix, own = embedded_prefix(self._settings.data_dir), {worker.id for worker in self._started.values()}
        try:
            live = [worker.id for worker in await self._workers.live() if worker.id.startswith(prefix)]
        except ServiceError as error:
            _log.warning("could not list stale workers", error=error.detail)
            return
        for worker_id in live:
            if worker_id not in own:
                await self._release(worker_id)

    async def _keep(self, slot: int, worker: EmbeddedWorker | None) -> None:
        """Run a worker and restart it whenever it exits."""
        delay_s = 0.0
        while True:
            await asyncio.sleep(delay_s)
            started_s = time.monotonic()
            try:
                worker = worker or await start_worker(self._settings, slot, self._command)
                _log.info("worker started", worker=worker.id, pid=worker.process.pid)
                exit_status = await self._run(worker)
                if exit_status == MISCONFIGURED and delay_s == 0.0:
                    raise WorkerConfigurationError
                status = f"exit status {exit_status}"
            except OSError as error:
                status = f"could not be started: {error}"
            self._restarts.inc()
            delay_s = next_delay_s(delay_s, time.monotonic() - started_s)
            _log.error("worker died", worker=worker and worker.id, status=status, restart_in_s=delay_s)
            worker = None

    async def _run(self, worker: EmbeddedWorker) -> int:
        """Return the exit status of a worker. On cancellation the worker is stopped first."""
        try:
            return await worker.process.wait()
        finally:
            await stop_worker(worker)
            mark_process_dead(worker.process.pid, str(self._settings.metrics_dir))  # type: ignore[no-untyped-call]
            await self._release(worker.id)

    async def _release(self, worker_id: str) -> None:
        """Release a worker's sessions. If this fails they resume when the lease expires, so a warning suffices."""
        try:
            await self._workers.release(worker_id)
        except ServiceError as error:
            _log.warning("could not release worker", worker=worker_id, error=error.detail)
