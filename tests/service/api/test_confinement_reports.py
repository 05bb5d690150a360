"""The server also shows what confines the decoders: in `/readyz`, a metric and the log."""

from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from service.api.confinement import ConfinementWatch, weakest
from service.observability.telemetry import ApiMetrics
from service.store.protocols import Store
from service.store.worker_records import WorkerInfo
from tests.support.running_server import running_server
from tests.support.store_kit import MODEL

CONFINED = WorkerInfo("a", 1.0, (MODEL,), confinement={"seccomp": True, "landlock": True})
LACKING = replace(CONFINED, id="b", confinement={"seccomp": True, "landlock": False})
OLDER = replace(CONFINED, id="c", confinement=None)


async def test_stores_keep_the_confinement_of_a_worker(store: Store) -> None:
    for worker in (LACKING, OLDER):
        await store.workers.register(worker)
        assert worker in await store.workers.live()


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        ((CONFINED, OLDER), {"seccomp": True, "landlock": True}),
        ((CONFINED, LACKING), {"seccomp": True, "landlock": False}),
        ((OLDER,), None),
    ],
)
def test_the_weakest_confinement_counts(workers: tuple[WorkerInfo, ...], expected: dict[str, bool] | None) -> None:
    assert weakest(workers) == expected


async def test_readiness_shows_the_confinement(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        assert (await server.http.get("/readyz")).json() == {"status": "ok", "store": "ok", "confinement": None}
        await server.worker.store.workers.register(LACKING)
        shown = (await server.http.get("/readyz")).json()["confinement"]
        assert shown == {"seccomp": True, "landlock": False}


async def test_a_worker_without_confinement_is_counted_and_logged_once(store: Store) -> None:
    gauge = ApiMetrics(CollectorRegistry()).unconfined_workers
    watch = ConfinementWatch(store.workers, gauge)
    with capture_logs() as logged:
        watch.note([CONFINED, LACKING, OLDER])
        watch.note([LACKING])
        assert gauge._value.get() == 1
        watch.note([CONFINED])
        assert gauge._value.get() == 0
    assert [(line["worker"], line["missing"]) for line in logged] == [("b", ["landlock"])]
