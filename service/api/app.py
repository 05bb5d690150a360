"""The application: routes, page and the life of what they share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.responses import FileResponse

from service.api import events, health, models, sessions, submit
from service.api.context import Context
from service.api.feed import Feed
from service.api.middleware import Observe
from service.api.openapi import DESCRIPTION, describe
from service.api.problems import add_handlers
from service.settings import Settings
from service.store import open_store
from service.store.base import Store
from service.supervisor import Supervisor, lock_folder
from service.telemetry import ApiMetrics

WEB = Path(__file__).parent.parent / "web"


def create_app(settings: Settings) -> FastAPI:
    """The ASGI application. Its lifespan opens the store and starts `settings.workers` worker processes."""
    # For its owner only: the database holds the passwords of cameras.
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.metrics_dir.mkdir(exist_ok=True)
    registry = CollectorRegistry()
    metrics = ApiMetrics(registry)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.enter_context(lock_folder(settings.data_dir))
            _prepare_folders(settings)
            store = open_store(settings.resolved_store_url, scores_keep_s=settings.scores_keep_s)
            stack.push_async_callback(store.close)
            feed = await stack.enter_async_context(_running_feed(store, metrics))
            app.state.context = Context(settings, store, feed, metrics, registry)
            await stack.enter_async_context(Supervisor(settings, store, metrics.worker_restarts))
            yield

    MultiProcessCollector(registry, path=str(settings.metrics_dir))  # type: ignore[no-untyped-call]
    app = FastAPIOffline(title="CAKE", description=DESCRIPTION, version="1", redoc_url=None, lifespan=lifespan)
    for module in (submit, sessions, events, models, health):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=WEB, check_dir=False), name="static")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(WEB / "index.html", headers={"Cache-Control": "no-cache"})

    add_handlers(app)
    describe(app)
    app.add_middleware(Observe, metrics=metrics)
    return app


@asynccontextmanager
async def _running_feed(store: Store, metrics: ApiMetrics) -> AsyncIterator[Feed]:
    feed = Feed(store, metrics.delivery_seconds)
    running = asyncio.create_task(feed.run())
    try:
        yield feed
    finally:
        feed.close()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def _prepare_folders(settings: Settings) -> None:
    for folder in (settings.uploads_dir, settings.snapshots_dir):
        folder.mkdir(exist_ok=True)
    # Uploads that were under way and numbers of workers that ran when the last server died.
    for leftover in (*settings.uploads_dir.glob("*.part"), *settings.metrics_dir.glob("*.db")):
        leftover.unlink()
