"""A worker process: loads the models, measures its capacity and works until it is stopped."""

import asyncio
import os
import signal
import stat
import sys
import uuid
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import asdict

import structlog
import uvloop
from prometheus_client import CollectorRegistry, ProcessCollector

from model.checkpoints.folders import CheckpointNotFoundError, available_models
from model.checkpoints.stored import CheckpointError
from model.compiled.graph_files import GraphFiles
from model.detector import Detector
from service.background import background_task
from service.decoder.fork_server import open_fork_server
from service.decoder.protocol import Confinement
from service.errors import StoreUnavailableError
from service.model_description import describe
from service.observability.logs import configure_logging
from service.observability.telemetry import WorkerMetrics
from service.observability.tracing import TracingUnavailableError, configure_tracing
from service.push.gate import open_gate
from service.session.context import WorkerContext
from service.session.engine import Engine
from service.settings import Settings
from service.sources.authorities import write_authorities
from service.storage.blobs import Blobs, warn_of_separate_folders
from service.storage.objects import BlobUrlError, check_blob_url
from service.store import open_store
from service.store.worker_records import WorkerInfo
from service.store_url import StoreUrlError, check_store_url
from service.worker.capacity import measure_capacity_steps_per_s
from service.worker.self_check import SelfCheckError, analyse_clip, decode_clip
from service.worker.uploaded_models import UploadedModels
from service.worker.worker import Worker

# The kernel kills a worker that has not handed over its sessions within this time.
EXIT_WITHIN_S = 9

_log = structlog.get_logger("service.worker")


def load_detectors(settings: Settings) -> dict[str, Detector]:
    """The models to serve, by the name under which sessions request them.

    Raises CheckpointNotFoundError or CheckpointError.
    """
    shipped = available_models()
    graphs = GraphFiles(settings.data_dir / "graphs")
    detectors: dict[str, Detector] = {}
    for name_or_path in settings.models or shipped:
        detector = Detector.load(
            name_or_path, precision=settings.precision, threads=settings.worker_threads, graphs=graphs
        )
        detectors[name_or_path if name_or_path in shipped else detector.name] = detector
        for warning in detector.config.warnings:
            _log.warning("model loaded with a warning", model=detector.name, warning=warning)
    if not detectors:
        raise CheckpointNotFoundError("no model is installed; name a checkpoint folder in CAKE_MODELS")
    return detectors


async def work(settings: Settings, detectors: Mapping[str, Detector]) -> None:
    """Run a worker until SIGTERM, SIGINT or the end of the parent. Raises SelfCheckError before it takes sessions."""
    stop = _stop_on_signals_and_orphaning()
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    metrics = WorkerMetrics(registry)
    warn_of_separate_folders(settings.resolved_store_url, settings.blob_url)
    blobs = Blobs(settings.blob_url, settings.data_dir)
    blobs.prepare()
    if settings.source_ca is not None:
        write_authorities(settings.source_ca, settings.authorities)
    store = open_store(
        settings.resolved_store_url,
        scores_keep_s=settings.scores_keep_s,
        count_unreadable=lambda kind: metrics.poison.labels(f"stored_{kind}").inc(),
    )
    try:
        size = max(detector.config.image_size for detector in detectors.values())
        async with (
            # The decoder process starts while the engine compiles.
            background_task(decode_clip(size, settings)) as decoding,
            Engine(detectors, metrics) as engine,
            open_gate(settings.worker_host, settings.worker_push_port, address=settings.worker_address) as gate,
            open_fork_server() as forks,
        ):
            images, confinement = await decoding
            await analyse_clip(detectors, images)
            _report(confinement, metrics)
            worker_id = settings.worker_id or f"worker-{uuid.uuid4().hex[:8]}"
            capacity = await measure_capacity_steps_per_s(detectors, settings)
            for name, detector in detectors.items():
                metrics.scores.expect(name, detector.reference_scores)
            models = tuple(describe(name, detector) for name, detector in detectors.items())
            context = WorkerContext(store, engine, metrics, settings, gate, blobs, forks=forks)
            info = WorkerInfo(worker_id, capacity, models, confinement=asdict(confinement))
            worker = Worker(info, context, UploadedModels(context, detectors))
            async with _open_http(settings, registry, worker, confinement):
                await worker.run(stop)
    finally:
        await store.close()
        signal.alarm(0)


def _open_http(
    settings: Settings, registry: CollectorRegistry, worker: Worker, confinement: Confinement
) -> AbstractAsyncContextManager[None]:
    """The worker's HTTP endpoints, if it has a port: the libraries would delay the start of workers without one."""
    if settings.worker_port is None:
        return nullcontext()
    from service.worker.http import open_worker_http

    return open_worker_http(settings.worker_host, settings.worker_port, registry, worker.why_not_ready, confinement)


def _report(confinement: Confinement, metrics: WorkerMetrics) -> None:
    for mechanism, is_active in asdict(confinement).items():
        metrics.confinement.labels(mechanism).set(is_active)
    if all(asdict(confinement).values()):
        _log.info("decoders are confined", **asdict(confinement))
    else:
        _log.warning(
            "decoders are only partly confined: this kernel has no Landlock (Linux 5.13), so a decoder that a hostile"
            " video takes over can read the files of its user",
            **asdict(confinement),
        )


def _stop_on_signals_and_orphaning() -> asyncio.Event:
    """Set by SIGTERM, SIGINT, and when a parent that holds a pipe to this process's stdin exits."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def begin_to_stop() -> None:
        signal.alarm(EXIT_WITHIN_S)
        stop.set()

    def on_input() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            begin_to_stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, begin_to_stop)
    if stat.S_ISFIFO(os.fstat(0).st_mode) or stat.S_ISSOCK(os.fstat(0).st_mode):
        loop.add_reader(0, on_input)
    return stop


def main() -> None:
    """Entry of the worker process.

    Exit status 1: it cannot decode or analyse video, or open the database; 2: the models cannot be loaded, or the
    settings are invalid.
    """
    settings = Settings.model_validate({})
    configure_logging(settings.log_level, as_json=settings.log_json)
    try:
        check_store_url(settings.resolved_store_url)
        check_blob_url(settings.blob_url)
        if settings.traces:
            configure_tracing("cake-worker")
        detectors = load_detectors(settings)
    except (CheckpointNotFoundError, CheckpointError, StoreUrlError, BlobUrlError, TracingUnavailableError) as error:
        _log.error("worker not started", error=str(error))
        sys.exit(2)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work(settings, detectors))
    except (SelfCheckError, StoreUnavailableError) as error:
        _log.error("worker not started", error=str(error))
        sys.exit(1)
