"""The application: routes, page and the life of what they share."""

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import structlog
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.responses import FileResponse

from service.access.keys import ApiKey
from service.api import capabilities, events, health, models, push, sessions, submit, tickets
from service.api.browser_headers import BrowserHeaders
from service.api.context import Context
from service.api.feed import Feed
from service.api.middleware import Observe
from service.api.openapi import DESCRIPTION, describe
from service.api.problems import add_handlers
from service.beside import beside
from service.blobs import Blobs
from service.retention import Retention
from service.settings import Settings
from service.store import open_store
from service.supervisor import Supervisor, lock_folder
from service.telemetry import ApiMetrics
from service.webhooks.delivery import Deliverer
from service.webhooks.http_client import open_pool

_log = structlog.get_logger(__name__)
WEB = Path(__file__).parent.parent / "web"


def create_app(settings: Settings, own_key: ApiKey) -> FastAPI:
    """The ASGI application. Its lifespan opens the store and starts `settings.workers` worker processes.

    `own_key` is known to this application alone, as long as it lives.
    """
    # For its owner only: the database holds the passwords of cameras.
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.metrics_dir.mkdir(exist_ok=True)
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    metrics = ApiMetrics(registry)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.enter_context(lock_folder(settings.data_dir))
            _prepare_folders(settings)
            store = open_store(settings.resolved_store_url, scores_keep_s=settings.scores_keep_s)
            stack.push_async_callback(store.close)
            blobs = Blobs(settings.blob_url, settings.data_dir)
            feed = Feed(store, metrics.delivery_seconds)
            app.state.context = Context(settings, store, feed, blobs, metrics, registry, own_key)
            await stack.enter_async_context(_running(feed.run()))
            if settings.deliver_webhooks:
                pool = await stack.enter_async_context(open_pool(settings.address_policy))
                await stack.enter_async_context(_running(Deliverer(store, pool, metrics.webhook_deliveries).run()))
            if settings.keep_ended_s is not None:
                await stack.enter_async_context(_running(Retention(store, blobs, settings.keep_ended_s).run()))
            await stack.enter_async_context(_running(Supervisor(settings, store, metrics.worker_restarts).run()))
            yield

    MultiProcessCollector(registry, path=str(settings.metrics_dir))  # type: ignore[no-untyped-call]
    app = FastAPIOffline(
        title="CAKE",
        description=DESCRIPTION,
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        telemetry={"tracing": settings.traces, "metrics": False, "logs": False, "operation_spans": False},
    )
    for module in (submit, sessions, push, events, tickets, models, capabilities, health):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=WEB, check_dir=False), name="static")

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(WEB / "index.html")

    @app.api_route("/docs", methods=["GET", "HEAD"], include_in_schema=False)
    async def documentation() -> FileResponse:
        return FileResponse(WEB / "docs.html")

    add_handlers(app)
    describe(app)
    app.add_middleware(BrowserHeaders)
    app.add_middleware(Observe, metrics=metrics)
    return app


@asynccontextmanager
async def _running(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Work that goes on for ever beside the requests. Should it fail, the server ends: half of it is no use."""
    async with beside(work) as task:
        task.add_done_callback(_end_server_after_failure)
        yield


def _end_server_after_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.critical("the server ends after a bug", exc_info=error)
        signal.raise_signal(signal.SIGTERM)


def _prepare_folders(settings: Settings) -> None:
    settings.uploads_dir.mkdir(exist_ok=True)
    # Uploads that were under way and numbers of workers that ran when the last server died.
    for leftover in (*settings.uploads_dir.glob("*.part"), *settings.metrics_dir.glob("*.db")):
        leftover.unlink()
