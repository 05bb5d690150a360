"""Workers in this process and in separate ones, and how tests wait for what happens to their sessions."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry

from model.detector import Detector
from service.observability.telemetry import WorkerMetrics
from service.push.gate import open_gate
from service.session.context import WorkerContext
from service.session.engine import Engine
from service.settings import Settings
from service.storage.blobs import Blobs
from service.store.protocols import Store
from service.store.worker_records import WorkerInfo
from service.worker.worker import MAX_FAST_STREAMS, Worker
from tests.support.session_kit import a_worker
from tests.support.tiny_model import load


@asynccontextmanager
async def worker_process(settings: Settings, worker_id: str) -> AsyncIterator[Process]:
    """A real worker; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "service.worker",
        stdin=PIPE,
        stderr=DEVNULL,
        env={**os.environ, **settings.environ(), "CAKE_WORKER_ID": worker_id},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def worker_here(
    settings: Settings,
    store: Store,
    model: Path,
    info: Callable[[Detector], WorkerInfo] = a_worker,
    *,
    max_fast_streams: int = MAX_FAST_STREAMS,
) -> AsyncIterator[WorkerMetrics]:
    """A worker in this process."""
    detector, metrics, stop = load(model), WorkerMetrics(CollectorRegistry()), asyncio.Event()
    async with Engine({"tiny": detector}, metrics) as engine, open_gate() as gate:
        blobs = Blobs(settings.blob_url, settings.data_dir)
        context = WorkerContext(store, engine, metrics, settings, gate, blobs)
        worker = Worker(info(detector), context, max_fast_streams=max_fast_streams)
        running = asyncio.create_task(worker.run(stop))
        await until(store, lambda: has_workers(store))
        try:
            yield metrics
        finally:
            stop.set()
            await running


async def has_workers(store: Store) -> bool:
    """Whether any worker is live."""
    return bool(await store.workers.live())


async def until(store: Store, is_so: Callable[[], object], timeout_s: float = 300.0) -> None:
    """Wait for a condition that is asked for again after each commit, and now and then."""
    async with asyncio.timeout(timeout_s):
        while True:
            outcome = is_so()
            if await outcome if asyncio.iscoroutine(outcome) else outcome:
                return
            await store.log.wait(await store.log.end(), timeout_s=0.05)


async def in_state(store: Store, session_id: str, *wanted: str) -> bool:
    """Whether the session is in one of these states."""
    return (await store.sessions.get(session_id)).state in wanted
