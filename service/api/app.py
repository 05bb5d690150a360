"""The ASGI application: routes, middleware and the web page."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.responses import FileResponse, JSONResponse

from service.access.keys import ApiKey
from service.api import (
    cameras,
    capabilities,
    event_log,
    events,
    export,
    feedback,
    health,
    identity,
    keys,
    live,
    media,
    model_shadows,
    models,
    push,
    retry,
    rules_trial,
    sessions,
    storage,
    submit,
    subscriptions,
    tickets,
    video,
    webhook,
)
from service.api.compatibility import HeadRequests, PathPrefix, StrippedUpgrades
from service.api.cross_origin import CrossOrigin
from service.api.data_folder import make_data_folder
from service.api.error_responses import UnexpectedErrors, add_handlers
from service.api.lifetime import serving
from service.api.limits import ConnectionLimit
from service.api.middleware import BrowserHeaders, Observe
from service.api.openapi import DESCRIPTION, complete_openapi
from service.observability.telemetry import ApiMetrics
from service.settings import Settings

WEB = Path(__file__).parent.parent / "web"
VERSION = version("cake-served")
ROUTES = (
    submit,
    sessions,
    rules_trial,
    retry,
    push,
    events,
    event_log,
    export,
    media,
    video,
    live,
    feedback,
    tickets,
    cameras,
    capabilities,
    models,
    model_shadows,
    health,
    webhook,
    subscriptions,
    storage,
    keys,
    identity,
)
"""In the order of the description."""


class SignInUnavailableError(Exception):
    """CAKE_OIDC_ISSUER is set, but the library for its tokens is not installed. The message says what to do."""


def create_app(settings: Settings, own_key: ApiKey, open_connections: Callable[[], int]) -> FastAPI:
    """The ASGI application. Its lifespan opens the store and starts `settings.workers` worker processes.

    `own_key` is known only to this application, for its lifetime.
    """
    make_data_folder(settings)
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    metrics = ApiMetrics(registry)
    metrics.build.info({"version": VERSION})

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with serving(app, settings, metrics, registry, own_key):
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
    for module in ROUTES:
        app.include_router(module.router)
    if settings.oidc_issuer:
        app.include_router(_sign_in_routes())
    _add_pages(app, settings)
    app.state.auth = settings.auth
    app.state.first_workers = {}
    app.state.failed = False
    add_handlers(app)
    complete_openapi(app)
    _add_middleware(app, settings, metrics, open_connections)
    return app


def _sign_in_routes() -> APIRouter:
    """Imported only where people sign in. Raises SignInUnavailableError."""
    try:
        from service.api import sign_in
    except ImportError as error:
        raise SignInUnavailableError(
            "CAKE_OIDC_ISSUER needs the extra `oidc`. Install it in CAKE's source folder: pip install '.[oidc]'"
        ) from error
    return sign_in.router


def _add_pages(app: FastAPI, settings: Settings) -> None:
    """Serve the web page, the reference of the API, and the description of its streams."""
    app.mount("/static", StaticFiles(directory=WEB, check_dir=False), name="static")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(WEB / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def documentation() -> FileResponse:
        return FileResponse(WEB / "docs.html")

    @app.get("/asyncapi.json", include_in_schema=False)
    async def asyncapi() -> JSONResponse:
        # Described on request, like OpenAPI: few clients ask, and the schemas would delay the start.
        from service.api.asyncapi import describe_streams

        return JSONResponse(describe_streams(VERSION, settings.root_path))


def _add_middleware(app: FastAPI, settings: Settings, metrics: ApiMetrics, open_connections: Callable[[], int]) -> None:
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
