"""Places for expensive work: clients take turns, so that none holds up the others."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from service.errors import RateLimitError

MAX_WAITING = 16
RETRY_AFTER_S = 5


class FairPlaces:
    """Some places. One client holds at most `per_client` of them, and at most `max_waiting` of its requests wait.

    A free place goes to the waiting client that holds the fewest places; among several, to the one that was served
    least recently. A client is an API key, or without keys an address.
    """

    def __init__(self, places: int, *, per_client: int, max_waiting: int = MAX_WAITING) -> None:
        self._free = places
        self._per_client = per_client
        self._max_waiting = max_waiting
        self._held: Counter[str] = Counter()
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}
        """Requests that wait, by client."""
        self._turns = 0
        self._last_turn: dict[str, int] = {}
        """By client, a number that grows with each one served; only for clients that hold a place or wait for one."""

    @asynccontextmanager
    async def place(self, client: str) -> AsyncIterator[None]:
        """Hold a place once it is the client's turn. Raises RateLimitError if too many of its requests wait."""
        line = self._lines.setdefault(client, deque())
        if len(line) >= self._max_waiting:
            raise RateLimitError(
                f"{self._max_waiting} requests of this client wait for the same work already. Retry later.",
                retry_after_s=RETRY_AFTER_S,
            )
        turn = asyncio.get_running_loop().create_future()
        line.append(turn)
        self._serve()
        try:
            await turn
            yield
        finally:
            self._leave(client, turn)

    def _leave(self, client: str, turn: asyncio.Future[None]) -> None:
        """Give the place back, or stop waiting."""
        if turn.done() and not turn.cancelled():
            self._free += 1
            self._held[client] -= 1
        else:
            with suppress(ValueError):
                self._lines[client].remove(turn)
        if not self._held[client] and not self._lines[client]:
            del self._held[client], self._lines[client]
            self._last_turn.pop(client, None)
        self._serve()

    def _serve(self) -> None:
        while self._free > 0:
            waiting = [client for client, line in self._lines.items() if line and self._held[client] < self._per_client]
            if not waiting:
                return
            client = min(waiting, key=lambda each: (self._held[each], self._last_turn.get(each, 0)))
            turn = self._lines[client].popleft()
            # A request that was cancelled leaves a moment later.
            if not turn.done():
                turn.set_result(None)
                self._free -= 1
                self._held[client] += 1
                self._turns += 1
                self._last_turn[client] = self._turns
