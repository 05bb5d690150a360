"""Health as in Kubernetes, and metrics."""

import asyncio
from collections.abc import Awaitable

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from service.api.caller import MetricsReader
from service.api.context import Context, SharedContext
from service.api.models import loaded_models
from service.api.problems import ASKS, problems
from service.errors import NotReady, ServiceError
from service.schemas import SESSION_STATES, Health

STORE_PATIENCE_S = 2.0
router = APIRouter(tags=["health"])


@router.get("/livez", summary="The process answers")
async def livez() -> Health:
    return Health()


@router.get("/readyz", summary="The store is reachable and a worker has its models loaded", responses=problems(503))
async def readyz(context: SharedContext) -> Health:
    return await _once_answered(loaded_models(context.store))


@router.get("/readyz/store", summary="The store is reachable", responses=problems(503))
async def store_readyz(context: SharedContext) -> Health:
    """For a server behind a balancer: it has its use, to read events for one, while no worker is there."""
    return await _once_answered(context.store.has_keys())


@router.get(
    "/metrics",
    summary="Prometheus metrics of the server and of its worker processes",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems(*ASKS)},
)
async def metrics(context: SharedContext, _caller: MetricsReader) -> Response:
    await _observe_load(context)
    # Reads the workers' files, hence not in the loop.
    text = await asyncio.to_thread(generate_latest, context.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


async def _once_answered(question: Awaitable[object]) -> Health:
    """Raises NotReady when the store keeps silent, and what `question` raises."""
    try:
        async with asyncio.timeout(STORE_PATIENCE_S):
            await question
    except TimeoutError as error:
        raise NotReady(f"The store did not answer within {STORE_PATIENCE_S:.0f} s.", retry_after_s=2) from error
    return Health()


async def _observe_load(context: Context) -> None:
    """Set the gauges that the store knows; without it the others are still worth having, and `cake_store_up` is 0."""
    gauges = context.metrics
    try:
        async with asyncio.timeout(STORE_PATIENCE_S):
            load = await context.store.load()
    except (TimeoutError, ServiceError):
        gauges.store_up.set(0)
        return
    gauges.store_up.set(1)
    gauges.workers.set(load.workers)
    gauges.capacity.set(load.capacity_steps_per_s)
    gauges.reserved.set(load.reserved_steps_per_s)
    for state in SESSION_STATES:
        gauges.sessions.labels(state).set(load.sessions.get(state, 0))
