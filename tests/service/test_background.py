"""Background tasks survive failures of their work."""

import asyncio
from collections.abc import Iterator

from prometheus_client import CollectorRegistry

from service.background import repeat
from service.errors import StoreUnavailableError
from service.observability.telemetry import ApiMetrics


async def test_a_repeated_step_continues_after_failures_and_counts_the_unexpected_ones() -> None:
    poison = ApiMetrics(CollectorRegistry()).poison
    failures: Iterator[Exception] = iter([StoreUnavailableError("Not now."), RuntimeError("a defect"), OSError()])
    succeeded = asyncio.Event()

    async def step() -> float:
        for failure in failures:
            raise failure
        succeeded.set()
        return 3600.0

    repeating = asyncio.create_task(repeat(step, name="cleaning", retry_s=0.0, poison=poison))
    async with asyncio.timeout(60):
        await succeeded.wait()
    repeating.cancel()
    await asyncio.wait([repeating])
    assert poison.labels("cleaning")._value.get() == 2
