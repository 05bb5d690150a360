"""The feed passes on events even if one of them, or one read of the store, fails."""

import asyncio
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Histogram

from service.access.sight import ALL, Sight
from service.event_schemas import Event
from service.feed.fanout import Feed, Subscription
from service.feed.messages import Message
from service.observability.telemetry import ApiMetrics
from service.store.protocols import Store
from service.store.records import LogPage
from tests.support.store_kit import claimed, start


class FailingReads:
    """The log of a store, followed from its beginning, of which the first reads fail unexpectedly."""

    def __init__(self, store: Store, failures: Iterator[Exception]) -> None:
        self._log = store.log
        self._failures = failures

    def __getattr__(self, name: str) -> object:
        return getattr(self._log, name)

    async def end(self) -> str:
        return "0"

    async def read(self, *, after: str, limit: int = 500, sight: Sight = ALL) -> LogPage:
        for failure in self._failures:
            raise failure
        return await self._log.read(after=after, limit=limit, sight=sight)


class FailingFilter:
    """Cannot judge the event `5-0`."""

    def passes(self, event: Event) -> bool:
        if event.id == "5-0":
            raise RuntimeError("a defect")
        return True


class NotingFilter:
    """Notes that it was asked."""

    def __init__(self, noted: list[str]) -> None:
        self._noted = noted

    def passes(self, event: Event) -> bool:
        self._noted.append(f"delivery {event.id}")
        return True


async def test_clients_get_events_before_any_delivery_is_asked_whether_it_wants_them(store: Store) -> None:
    session = await claimed(store)
    await store.log.commit(session.id, session.token, events=[start(session.id, "5-0")])
    delivery_seconds = Histogram("delivery", "", registry=CollectorRegistry())
    log: Any = FailingReads(store, iter(()))
    feed = Feed(log, delivery_seconds, ApiMetrics(CollectorRegistry()).poison)
    noted: list[str] = []
    asked: Any = NotingFilter(noted)
    with (
        feed.subscribe_all(ALL, asked, delivers=True) as delivery,
        feed.subscribe_all(ALL) as of_log,
        feed.subscribe(session.id) as of_session,
    ):

        async def take(client: Subscription) -> None:
            noted.extend(f"client {message.event.id}" for message in await client.take(60.0))

        clients = [asyncio.create_task(take(client)) for client in (of_log, of_session)]
        running = asyncio.create_task(feed.run())
        async with asyncio.timeout(60):
            delivered = await delivery.take(60.0)
            await asyncio.gather(*clients)
        running.cancel()
        await asyncio.wait([running])
    assert [message.event.id for message in delivered] == ["0-0", "5-0"]
    assert noted == ["client 0-0", "client 5-0"] * 2 + ["delivery 0-0", "delivery 5-0"]


async def test_events_are_passed_on_after_a_read_and_an_event_that_failed(store: Store) -> None:
    session = await claimed(store)
    poison = ApiMetrics(CollectorRegistry()).poison
    delivery = Histogram("delivery", "", registry=CollectorRegistry())
    feed = Feed(FailingReads(store, iter([RuntimeError("a defect")])), delivery, poison)  # type: ignore[arg-type]
    taken: list[Message] = []
    with feed.subscribe(session.id, FailingFilter()) as subscription:  # type: ignore[arg-type]
        running = asyncio.create_task(feed.run())
        async with asyncio.timeout(60):
            for event_id in ("5-0", "6-0"):
                await store.log.commit(session.id, session.token, events=[start(session.id, event_id)])
            while "6-0" not in [message.position for message in taken]:
                taken += await subscription.take(60.0)
        running.cancel()
        await asyncio.wait([running])
    assert "5-0" not in [message.position for message in taken]
    assert poison.labels("feed")._value.get() == 2
