"""The ASGI application: routes, web page, and the lifetime of what they share."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import structlog
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.responses import FileResponse, JSONResponse

from service.access.keys import ApiKey
from service.api import (
    capabilities,
    event_log,
    events,
    export,
    feedback,
    health,
    live,
    media,
    model_shadows,
    models,
    push,
    rules_trial,
    sessions,
    storage,
    submit,
    subscriptions,
    tickets,
    video,
    webhook,
)
from service.api.asyncapi import describe_streams
from service.api.compatibility import HeadRequests, PathPrefix, StrippedUpgrades
from service.api.confinement import ConfinementWatch
from service.api.context import Context
from service.api.cross_origin import CrossOrigin
from service.api.cuts import Cuts
from service.api.error_responses import UnexpectedErrors, add_handlers
from service.api.expired_keys import ExpiredKeys
from service.api.limits import ConnectionLimit, OpenStreams
from service.api.middleware import BrowserHeaders, Observe
from service.api.openapi import DESCRIPTION, complete_openapi
from service.api.stills_and_clips import EventStillsAndClips
from service.api.supervisor import Supervisor, WorkerConfigurationError, lock_folder
from service.api.unserved import UnservedSessions
from service.background import background_task, repeat
from service.feed import Feed
from service.observability.audit import AuditActor, AuditLog
from service.observability.telemetry import ApiMetrics
from service.settings import Settings
from service.sources.authorities import write_authorities
from service.storage.blobs import Blobs, warn_of_separate_folders
from service.storage.clip_retention import ClipRetention
from service.storage.deletion import OrphanSweep
from service.storage.disk import Disk
from service.storage.model_sweep import ModelSweep
from service.storage.retention import Retention
from service.storage.stored_size import StoredSize
from service.store import database_bytes, open_store
from service.store.subscription_records import MAX_SUBSCRIPTIONS
from service.subscriptions.deliverer import SubscriptionDeliverer
from service.subscriptions.notifier import Notifier
from service.subscriptions.targets import TargetOpener
from service.webhooks.delivery import Deliverer
from service.webhooks.http_client import open_pool
from service.webhooks.lanes import MAX_HANGING, MAX_LANES

_log = structlog.get_logger(__name__)
RETRY_S = 30.0
MAX_CONNECTIONS = MAX_LANES + MAX_HANGING + MAX_SUBSCRIPTIONS
"""Connections of webhooks and subscriptions: enough that no receiver waits for those that hang."""
WEB = Path(__file__).parent.parent / "web"
VERSION = version("cake-served")


def create_app(settings: Settings, own_key: ApiKey, open_connections: Callable[[], int]) -> FastAPI:
    """The ASGI application. Its lifespan opens the store and starts `settings.workers` worker processes.

    `own_key` is known only to this application, for its lifetime.
    """
    # Readable only by its owner: the database holds the passwords of cameras.
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.metrics_dir.mkdir(exist_ok=True)
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    metrics = ApiMetrics(registry)
    metrics.build.info({"version": VERSION})

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.enter_context(lock_folder(settings.data_dir))
            _forget_dead_workers(settings)
            store = open_store(
                settings.resolved_store_url,
                scores_keep_s=settings.scores_keep_s,
                count_unreadable=lambda kind: metrics.poison.labels(f"stored_{kind}").inc(),
            )
            stack.push_async_callback(store.close)
            warn_of_separate_folders(settings.resolved_store_url, settings.blob_url)
            blobs = Blobs(settings.blob_url, settings.data_dir)
            blobs.prepare()
            blobs.remove_incomplete()
            disk = Disk(settings.data_dir, settings.min_free_bytes)
            metrics.disk_free.set_function(disk.free_bytes)
            metrics.database_bytes.set_function(lambda: database_bytes(settings.resolved_store_url))
            audit = AuditLog(settings.audit_path)
            stack.callback(audit.close)
            feed = Feed(store.log, metrics.delivery_seconds, metrics.poison)
            pool = await stack.enter_async_context(
                open_pool(settings.address_policy, max_connections=MAX_CONNECTIONS, authorities=settings.source_ca)
            )
            if settings.source_ca is not None:
                write_authorities(settings.source_ca, settings.authorities)
            cuts = Cuts(blobs, None if settings.blob_url else disk)
            targets = TargetOpener(
                pool,
                settings.address_policy,
                settings.source_ca,
                store.sessions,
                blobs,
                Notifier(settings.address_policy, settings.authorities),
                EventStillsAndClips(store.sessions, blobs, cuts),
            )
            app.state.context = Context(
                settings,
                store,
                feed,
                blobs,
                disk,
                metrics,
                registry,
                own_key,
                audit,
                StoredSize(blobs),
                OpenStreams(settings.max_streams),
                app.state.auth,
                targets,
                cuts,
            )
            await stack.enter_async_context(_running(app, feed.run()))
            if settings.deliver_webhooks:
                webhooks = Deliverer(store.outbox, store.log, pool, metrics.webhook_deliveries, metrics.poison)
                await stack.enter_async_context(_running(app, webhooks.run()))
                deliverer = SubscriptionDeliverer(
                    store, feed, targets.open, metrics.subscription_deliveries, metrics.poison
                )
                metrics.subscriptions_pending.set_function(lambda: deliverer.backlog().pending)
                metrics.subscriptions_oldest.set_function(lambda: deliverer.backlog().oldest_s)
                metrics.subscriptions_failing.set_function(lambda: deliverer.backlog().failing)
                await stack.enter_async_context(_running(app, deliverer.run()))
            retention = Retention(
                store.sessions,
                blobs,
                disk,
                metrics.poison,
                keep_s=settings.keep_ended_s,
                delete_when_low=settings.delete_oldest_when_full,
                note_deleted=lambda session, reason: audit.record(
                    "session.delete", AuditActor(), session=session, reason=reason
                ),
            )
            watch = ConfinementWatch(store.workers, metrics.unconfined_workers)
            clips = ClipRetention(
                blobs,
                keep_s=settings.clips_keep_s,
                keep_of_s=settings.clips_keep_of_s,
                max_bytes=settings.clips_max_bytes,
            )
            for name, step in (
                ("retention", retention.sweep_regularly),
                ("old clips", clips.sweep_regularly),
                ("orphaned files", OrphanSweep(store.sessions, blobs).sweep_daily),
                ("unserved sessions", UnservedSessions(store).check),
                ("confinement", watch.check),
                ("replaced models", ModelSweep(store, blobs.models).check),
                ("expired keys", ExpiredKeys(store, audit).check),
            ):
                work = repeat(step, name=name, retry_s=RETRY_S, poison=metrics.poison)
                await stack.enter_async_context(_running(app, work))
            await stack.enter_async_context(
                _running(app, Supervisor(settings, store.workers, metrics.worker_restarts).run())
            )
            yield

    MultiProcessCollector(registry, path=str(settings.metrics_dir))  # type: ignore[no-untyped-call]
    app = FastAPIOffline(
        title="CAKE",
        description=DESCRIPTION,
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        # Relative to the description itself, so that it also holds behind a proxy with a path prefix.
        servers=[{"url": settings.root_path or "."}],
        root_path_in_servers=False,
        # A redirect would name this server's own scheme and host, which a proxy hides, and repeat an upload.
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        telemetry={"tracing": settings.traces, "metrics": False, "logs": False, "operation_spans": False},
    )
    for module in (
        submit,
        sessions,
        rules_trial,
        push,
        events,
        event_log,
        export,
        media,
        video,
        live,
        feedback,
        tickets,
        capabilities,
        models,
        model_shadows,
        health,
        webhook,
        subscriptions,
        storage,
    ):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=WEB, check_dir=False), name="static")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(WEB / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def documentation() -> FileResponse:
        return FileResponse(WEB / "docs.html")

    streams = describe_streams(VERSION, settings.root_path)

    @app.get("/asyncapi.json", include_in_schema=False)
    async def asyncapi() -> JSONResponse:
        return JSONResponse(streams)

    app.state.auth = settings.auth
    app.state.failed = False
    add_handlers(app)
    complete_openapi(app)
    # The last one added is the outermost.
    app.add_middleware(UnexpectedErrors)
    app.add_middleware(HeadRequests)
    app.add_middleware(StrippedUpgrades)
    app.add_middleware(ConnectionLimit, open_connections=open_connections, rejections=metrics.rejected_connections)
    app.add_middleware(BrowserHeaders)
    app.add_middleware(Observe, metrics=metrics)
    app.add_middleware(PathPrefix, prefix=settings.root_path)
    if settings.allowed_origins:
        app.add_middleware(CrossOrigin, allowed=settings.allowed_origins)
    return app


@asynccontextmanager
async def _running(app: FastAPI, work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """A background task for the lifetime of the server. If it fails, the server exits."""
    try:
        async with background_task(work) as task:
            task.add_done_callback(lambda task: _end_server_after_failure(app, task))
            yield
    except* WorkerConfigurationError:
        # The worker logged the reason; a traceback would hide it.
        _log.critical("a worker cannot start with these settings, the server exits")


def _end_server_after_failure(app: FastAPI, task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        app.state.failed = True
        if not (isinstance(error, ExceptionGroup) and error.subgroup(WorkerConfigurationError)):
            _log.critical("a background task failed, the server exits", exc_info=error)
        signal.raise_signal(signal.SIGTERM)


def _forget_dead_workers(settings: Settings) -> None:
    """Remove the metrics of workers that ran when the last server was killed."""
    for leftover in settings.metrics_dir.glob("*.db"):
        leftover.unlink()
