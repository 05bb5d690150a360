"""Background tasks with an owner: one for the lifetime of a context, or several that race for the first result."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import structlog
from prometheus_client import Counter

from service.errors import ServiceError

T = TypeVar("T")
_log = structlog.get_logger(__name__)


@asynccontextmanager
async def background_task(work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Run `work` for the lifetime of the context; cancel and await it on exit, and propagate its exception."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def repeat(step: Callable[[], Awaitable[float]], *, name: str, retry_s: float, poison: Counter) -> None:
    """Await `step` again and again until cancelled. It returns the seconds until the next time.

    A failure never ends the loop: it is logged, and the step repeated after `retry_s`. Unexpected exceptions are
    counted in `poison` under `name`.
    """
    while True:
        try:
            wait_s = await step()
        except ServiceError as error:
            _log.warning("a background task failed, retrying", task=name, error=error.detail)
            wait_s = retry_s
        except Exception:
            _log.exception("a background task failed unexpectedly, retrying", task=name)
            poison.labels(name).inc()
            wait_s = retry_s
        await asyncio.sleep(wait_s)


async def race(*works: Coroutine[Any, Any, T]) -> T:
    """Return the result of the first coroutine to finish, or raise its exception; cancel and await the others."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return next(task for task in tasks if task in done).result()
