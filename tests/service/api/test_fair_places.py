"""Clients take turns at the places for expensive work."""

import asyncio

import pytest

from service.api.fair_places import FairPlaces
from service.errors import RateLimitError


class Work:
    """Requests of clients, each of which holds its place until it is finished."""

    def __init__(self, places: FairPlaces) -> None:
        self._places = places
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._finished: dict[str, asyncio.Event] = {}
        self.begun: list[str] = []

    async def ask(self, *requests: str) -> None:
        """The first letter of a request is its client."""
        for request in requests:
            self._finished[request] = asyncio.Event()
            self._tasks[request] = asyncio.create_task(self._run(request))
        await settled()

    async def finish(self, request: str) -> None:
        self._finished[request].set()
        await self._tasks.pop(request)
        await settled()

    async def cancel(self, request: str) -> None:
        self._tasks.pop(request).cancel()
        await settled()

    async def end(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _run(self, request: str) -> None:
        async with self._places.place(request[0]):
            self.begun.append(request)
            await self._finished[request].wait()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_client_leaves_a_place_to_others_and_clients_take_turns() -> None:
    work = Work(FairPlaces(3, per_client=2))
    await work.ask("a1", "a2", "a3", "a4")
    assert work.begun == ["a1", "a2"]
    await work.ask("b1", "b2", "c1")
    assert work.begun == ["a1", "a2", "b1"]
    await work.finish("a1")
    # Of those who wait, c has none.
    assert work.begun[3:] == ["c1"]
    await work.finish("a2")
    assert work.begun[4:] == ["a3"]
    await work.finish("c1")
    # Both hold one; a was served last.
    assert work.begun[5:] == ["b2"]
    await work.end()


async def test_requests_that_are_cancelled_leave_the_line_and_give_their_place_back() -> None:
    work = Work(FairPlaces(1, per_client=1))
    await work.ask("a1", "a2", "b1")
    await work.cancel("a2")
    await work.cancel("a1")
    assert work.begun == ["a1", "b1"]
    await work.finish("b1")
    await work.ask("a3")
    assert work.begun == ["a1", "b1", "a3"]
    await work.end()


async def test_a_place_given_to_a_cancelled_request_goes_to_the_next() -> None:
    places = FairPlaces(1, per_client=1)
    work = Work(places)
    async with places.place("x"):
        await work.ask("a1", "b1")
    # a1 has the place, but has not run since.
    await work.cancel("a1")
    assert work.begun == ["b1"]
    await work.end()


async def test_a_client_whose_line_is_full_is_told_to_retry_and_others_still_wait() -> None:
    work = Work(places := FairPlaces(1, per_client=1, max_waiting=2))
    await work.ask("a1", "a2", "a3")
    with pytest.raises(RateLimitError) as refused:
        async with places.place("a"):
            pass
    assert refused.value.retry_after_s
    await work.ask("b1")
    await work.finish("a1")
    assert work.begun == ["a1", "b1"]
    await work.end()
