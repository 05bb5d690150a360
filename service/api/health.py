"""Health checks as in Kubernetes, and metrics."""

import asyncio
import gzip
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from service.access.sight import ALL
from service.api.authentication import MetricsReader, SessionMetricsReader
from service.api.confinement import weakest
from service.api.context import Context, SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.api.model_catalogue import at_least_one
from service.api.store_answers import StoreAnswer
from service.errors import NotFoundError, NotReadyError, ServiceError, StoreUnavailableError
from service.observability.session_metrics import SessionMetrics
from service.schemas import LIVE_STATES, SESSION_STATES
from service.server_schemas import Health, Readiness, StoreReadiness, StoreState

T = TypeVar("T")
STORE_TIMEOUT_S = 4.0
"""Enough for a new connection to a Redis that answers a second late."""
router = APIRouter(tags=["health"])


@router.get("/livez", summary="Liveness: the process answers")
async def check_liveness() -> Health:
    return Health()


@router.get(
    "/readyz",
    summary="Readiness: the store is reachable and a worker has loaded its models",
    responses=problem_responses(503),
)
async def check_readiness(context: SharedContext) -> Readiness:
    await _answer(context.blobs.check)
    answer = await context.answers.get()
    return Readiness(store=_state_of(answer), confinement=weakest(at_least_one(answer.workers)))


@router.get("/readyz/store", summary="Readiness without workers: store reachable", responses=problem_responses(503))
async def check_store_readiness(context: SharedContext) -> StoreReadiness:
    """For servers behind a load balancer: events can be read even while no worker is running."""
    await _answer(context.blobs.check)
    return StoreReadiness(store=_state_of(await context.answers.get()))


def _state_of(answer: StoreAnswer) -> StoreState:
    return "late" if answer.is_late else "ok"


@router.get(
    "/metrics",
    summary="Get Prometheus metrics of the server and its worker processes",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problem_responses(*AUTH_STATUSES)},
)
async def get_metrics(context: SharedContext, _caller: MetricsReader, request: Request) -> Response:
    await _observe_load(context)
    is_compressed = "gzip" in request.headers.get("accept-encoding", "")
    # In a thread, since it reads the workers' files.
    text = await asyncio.to_thread(_metrics, context.registry, is_compressed=is_compressed)
    response = Response(text, media_type=CONTENT_TYPE_LATEST, headers={"Vary": "Accept-Encoding"})
    if is_compressed:
        response.headers["Content-Encoding"] = "gzip"
    return response


@router.get(
    "/metrics/sessions",
    summary="Get Prometheus metrics of each live session, if CAKE_SESSION_METRICS allows it",
    description="The oldest live sessions, with their ids and the names that clients gave them.",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **problem_responses(*AUTH_STATUSES, 404, 503),
    },
)
async def get_session_metrics(context: SharedContext, caller: SessionMetricsReader) -> Response:
    limit = context.settings.session_metrics
    if limit == 0:
        raise NotFoundError(
            "Metrics of sessions are off. The operator can turn them on, for example with CAKE_SESSION_METRICS=100."
        )
    # The scope shows the sessions of every key; only metadata limit it.
    sight = caller.sight if caller.sight.metadata else ALL
    shown, load = await asyncio.gather(
        context.store.sessions.live(limit=limit, sight=sight), context.store.workers.load()
    )
    live = sum(load.sessions.get(state, 0) for state in LIVE_STATES)
    # One after another: a scrape must not occupy the store.
    feedback = {session.id: await context.store.feedback.of_session(session.id) for session in shown}
    metrics = SessionMetrics(shown, feedback, max(0, live - len(shown)), datetime.now(UTC))
    return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _metrics(registry: CollectorRegistry, *, is_compressed: bool) -> bytes:
    text = generate_latest(registry)
    return gzip.compress(text, compresslevel=1) if is_compressed else text


async def _answer(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer. Raises NotReadyError when the store does not answer in time, and what `ask` raises."""
    try:
        async with asyncio.timeout(STORE_TIMEOUT_S):
            try:
                return await ask()
            except StoreUnavailableError:
                # An idle connection may just have been lost, on all servers at the same time.
                return await ask()
    except TimeoutError as error:
        raise NotReadyError(f"The store did not answer within {STORE_TIMEOUT_S:.0f} s.", retry_after_s=2) from error


async def _observe_load(context: Context) -> None:
    """Set the gauges that come from the store. While it is unavailable, only `cake_store_up` is set, to 0."""
    gauges = context.metrics
    try:
        load, backlog = await asyncio.gather(
            _answer(context.store.workers.load), _answer(lambda: context.store.outbox.backlog(now_unix_s=time.time()))
        )
    except ServiceError:
        gauges.store_up.set(0)
        return
    gauges.store_up.set(1)
    gauges.workers.set(load.workers)
    gauges.capacity.set(load.capacity_steps_per_s)
    gauges.reserved.set(load.reserved_steps_per_s)
    gauges.webhooks_pending.set(backlog.pending)
    gauges.webhooks_oldest.set(backlog.oldest_s)
    for state in SESSION_STATES:
        gauges.sessions.labels(state).set(load.sessions.get(state, 0))
