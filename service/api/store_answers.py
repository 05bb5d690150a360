"""Whether the store answers, for the readiness of a server: a late answer is not yet an outage.

All servers ask the same store. If each was taken out of service at its first late answer, all would be at once.
"""

import asyncio
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from service.errors import NotReadyError, ServiceError, StoreLateError, StoreUnavailableError
from service.store.protocols import Workers
from service.store.worker_records import WorkerInfo

LATE_S = 1.0
PATIENCE_S = 4.0
GRACE_S = (20.0, 30.0)


@dataclass(frozen=True)
class StoreAnswer:
    """The live workers. If the store is late, those of its previous answer."""

    workers: list[WorkerInfo]
    is_late: bool = False


class StoreAnswers:
    """Asks the store one question at a time, whose answer all requests share."""

    def __init__(self, workers: Workers, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` times how long ago the store answered, in seconds."""
        self._workers = workers
        self._clock = clock
        # Another one on every server, so that they do not leave service together.
        self._grace_s = random.uniform(*GRACE_S)
        self._latest = StoreAnswer([])
        self._latest_s = -math.inf
        self._asking: asyncio.Task[StoreAnswer | ServiceError] | None = None

    async def get(self) -> StoreAnswer:
        """The store's answer, or its previous one if it is late.

        Raises:
            NotReadyError: It is late, and did not answer within the last 20 to 30 s either.
            StoreUnavailableError: It cannot be reached.
        """
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        # A question continues after its requests gave up: its answer counts as the previous one of the next question.
        await asyncio.wait({self._asking}, timeout=LATE_S if self._answered_recently() else PATIENCE_S)
        outcome = self._asking.result() if self._asking.done() else None
        if isinstance(outcome, StoreAnswer):
            return outcome
        if outcome is not None and not isinstance(outcome, StoreLateError):
            raise outcome
        if self._answered_recently():
            return StoreAnswer(self._latest.workers, is_late=True)
        raise NotReadyError("The store has not answered in time for a while. Retry in a few seconds.", retry_after_s=2)

    def _answered_recently(self) -> bool:
        return self._clock() - self._latest_s < self._grace_s

    async def _ask(self) -> StoreAnswer | ServiceError:
        try:
            try:
                live = await self._workers.live()
            except StoreUnavailableError:
                # An idle connection may just have been lost, on all servers at the same time.
                live = await self._workers.live()
        except ServiceError as error:
            return error
        self._latest, self._latest_s = StoreAnswer(live), self._clock()
        return self._latest

    async def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
