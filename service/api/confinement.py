"""The confinement of the decoders of all live workers, for this server's health check, metric and log."""

from collections.abc import Iterable, Mapping

import structlog
from prometheus_client import Gauge

from service.store.protocols import Workers
from service.store.worker_records import WorkerInfo

CHECK_EVERY_S = 30.0
_log = structlog.get_logger(__name__)


def weakest(workers: Iterable[WorkerInfo]) -> dict[str, bool] | None:
    """For each mechanism, whether it is active in all workers; None if no worker reports it."""
    known = [worker.confinement for worker in workers if worker.confinement is not None]
    if not known:
        return None
    return {mechanism: all(one.get(mechanism, False) for one in known) for one in known for mechanism in one}


class ConfinementWatch:
    """Sets `gauge`, the number of workers whose decoders lack a mechanism, and logs when that changes."""

    def __init__(self, workers: Workers, gauge: Gauge) -> None:
        self._workers = workers
        self._gauge = gauge
        self._lacking: dict[str, list[str]] = {}

    async def check(self) -> float:
        """Check the live workers, and return the seconds until the next check. Raises ServiceError."""
        self.note(await self._workers.live())
        return CHECK_EVERY_S

    def note(self, live: Iterable[WorkerInfo]) -> None:
        """Take note of the live workers."""
        lacking = {worker.id: _missing(worker.confinement) for worker in live if worker.confinement is not None}
        lacking = {worker_id: mechanisms for worker_id, mechanisms in lacking.items() if mechanisms}
        self._gauge.set(len(lacking))
        for worker_id, mechanisms in lacking.items():
            if self._lacking.get(worker_id) != mechanisms:
                _log.warning("the decoders of a worker are not fully confined", worker=worker_id, missing=mechanisms)
        self._lacking = lacking


def _missing(confinement: Mapping[str, bool]) -> list[str]:
    return [mechanism for mechanism, is_active in confinement.items() if not is_active]
