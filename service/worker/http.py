"""The HTTP endpoints of a worker for operators: health checks as in Kubernetes, and metrics."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.decoder.protocol import Confinement
from service.listening import listen


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the worker."""
        yield


@asynccontextmanager
async def open_worker_http(
    host: str,
    port: int,
    registry: CollectorRegistry,
    why_not_ready: Callable[[], str | None],
    confinement: Confinement,
) -> AsyncIterator[None]:
    """Serve `/livez`, `/readyz` and `/metrics` for the lifetime of the context.

    `/readyz` also says what confines the worker's decoders.

    Raises OSError when the address is taken or not ours.
    """

    async def livez(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_request: Request) -> Response:
        reason = why_not_ready()
        if reason is not None:
            return JSONResponse({"detail": reason}, 503)
        return JSONResponse({"status": "ok", "confinement": asdict(confinement)})

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    routes = [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)]
    config = uvicorn.Config(
        Starlette(routes=routes), lifespan="off", log_config=None, access_log=False, server_header=False
    )
    server = _Server(config)
    with listen(host, port) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield
        finally:
            server.should_exit = True
            await serving
