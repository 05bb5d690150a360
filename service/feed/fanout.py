"""Fans the store's events out to many clients: first the history, then live events, without gaps or duplicates."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import structlog
from prometheus_client import Counter, Histogram

from service.access.sight import ALL, Sight
from service.errors import ServiceError
from service.event_filter import EVERYTHING, EventFilter
from service.event_schemas import Event
from service.feed.messages import Message, log_message, position_order, session_message
from service.observability.tracing import note_delivery
from service.store.protocols import EventLog
from service.store.records import LoggedEvent

BUFFER = 1000
"""Messages buffered for one client. A client that falls further behind is disconnected."""
PAGE = 500
HEARTBEAT_S = 15.0
_RETRY_S = 1.0
_log = structlog.get_logger(__name__)


class SlowClientError(Exception):
    """The client fell behind. It may resume after the last message that it received."""


class FeedClosedError(Exception):
    """The server is shutting down."""


class Subscription:
    """The bounded buffer of one client, filled by the feed with the events that the client wants."""

    def __init__(self, wanted: EventFilter) -> None:
        self._wanted = wanted
        self._messages: deque[Message] = deque()
        self._changed = asyncio.Event()
        self._overflowed = False
        self._closed = False
        self.seen: tuple[int, ...] = ()
        """Order of the last message that the client got from the store; earlier messages are not buffered."""

    def put(self, message: Message, event: Event) -> None:
        """Buffer a message that the client wants and has not received. A full buffer is cleared and overflows."""
        if message.order <= self.seen:
            return
        if not self._wanted.passes(event):
            if not message.last:
                return
            message = replace(message, is_hidden=True)
        if len(self._messages) >= BUFFER:
            self._overflowed = True
            self._messages.clear()
        if not self._overflowed:
            self._messages.append(message)
        self._changed.set()

    def close(self) -> None:
        """Let `take` raise FeedClosedError, now and later."""
        self._closed = True
        self._changed.set()

    def restart(self) -> None:
        """Clear the buffer: earlier messages will be read from the store."""
        self._messages.clear()
        self._overflowed = False

    @property
    def overflowed(self) -> bool:
        """Whether messages were lost since `restart`, so that the client has to read from the store."""
        return self._overflowed

    @property
    def has_messages(self) -> bool:
        """Whether `take` would return or raise immediately."""
        return bool(self._messages) or self._overflowed

    async def take(self, timeout_s: float) -> list[Message]:
        """Return all waiting messages, or none after `timeout_s`. Raises SlowClientError, FeedClosedError."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return []
        self._changed.clear()
        if self._closed:
            raise FeedClosedError
        if self._overflowed:
            raise SlowClientError
        messages = list(self._messages)
        self._messages.clear()
        return messages


class Feed:
    """Reads each new event of the store once and passes it to all clients that follow it. `run` must be running."""

    def __init__(self, log: EventLog, delivery_seconds: Histogram, poison: Counter) -> None:
        self._log = log
        self._poison = poison
        self._delivery_seconds = delivery_seconds
        self._by_session: dict[str, set[Subscription]] = {}
        self._by_sight: dict[Sight, set[Subscription]] = {}
        """Clients that follow all sessions that a sight shows."""
        self._deliveries: dict[Sight, set[Subscription]] = {}
        """The same for those that deliver to other systems. There may be thousands, and few of them want an event."""
        self._closed = False
        self.position: str | None = None
        """Cursor of the common log: every event up to there was passed on."""

    async def run(self) -> None:
        """Run until cancelled. Retries while the store is unavailable; no event is lost, since the cursor stays."""
        cursor: str | None = None
        while True:
            try:
                if cursor is None:
                    cursor = await self._log.end()
                await self._log.wait(cursor, timeout_s=1.0)
                page = await self._log.read(after=cursor, limit=PAGE)
                limited = await self._read_limited(page.entries)
            except ServiceError as error:
                _log.warning("cannot read events from the store, retrying", error=error.detail)
                await asyncio.sleep(_RETRY_S)
                continue
            except Exception:
                _log.exception("cannot read events from the store, retrying")
                self._poison.labels("feed").inc()
                await asyncio.sleep(_RETRY_S)
                continue
            for entry in page.entries:
                self._try(self._pass_on, entry, limited)
            if self._deliveries:
                # Clients send what they got before many filters are asked.
                await asyncio.sleep(0)
            for entry in page.entries:
                self._try(self._deliver, entry, limited)
            self.position = cursor = page.cursor

    async def _read_limited(self, entries: Sequence[LoggedEvent]) -> dict[Sight, set[str]]:
        """For each sight that depends on metadata, the cursors of the entries that it shows."""
        sights = {sight for sight in (*self._by_sight, *self._deliveries) if sight.metadata}
        return {sight: {each.cursor for each in await self._log.in_sight(entries, sight)} for sight in sights}

    def _try(
        self,
        pass_on: Callable[[LoggedEvent, Mapping[Sight, set[str]]], None],
        entry: LoggedEvent,
        limited: Mapping[Sight, set[str]],
    ) -> None:
        """If an event cannot be passed on, its followers miss this event and no other."""
        try:
            pass_on(entry, limited)
        except Exception:
            _log.exception("an event was not passed on", session=entry.event.session_id, id=entry.event.id)
            self._poison.labels("feed").inc()

    def _pass_on(self, entry: LoggedEvent, limited: Mapping[Sight, set[str]]) -> None:
        """To clients."""
        of_session = self._by_session.get(entry.event.session_id, set())
        if of_session:
            message = session_message(entry.event)
            for follower in of_session:
                follower.put(message, entry.event)
        of_log = _seeing(self._by_sight, entry, limited)
        if of_log:
            message = log_message(entry)
            for follower in of_log:
                follower.put(message, entry.event)
        self._delivery_seconds.observe(max(0.0, (datetime.now(UTC) - entry.event.time).total_seconds()))
        note_delivery(entry.event.traceparent, entry.event.time.timestamp(), len(of_session) + len(of_log))

    def _deliver(self, entry: LoggedEvent, limited: Mapping[Sight, set[str]]) -> None:
        """To those that deliver to other systems."""
        followers = _seeing(self._deliveries, entry, limited)
        if followers:
            message = log_message(entry)
            for follower in followers:
                follower.put(message, entry.event)

    @contextmanager
    def subscribe(self, session_id: str, wanted: EventFilter = EVERYTHING) -> Iterator[Subscription]:
        """Follow one session."""
        followers = self._by_session.setdefault(session_id, set())
        try:
            with self._joined(followers, wanted) as subscription:
                yield subscription
        finally:
            if not followers:
                self._by_session.pop(session_id, None)

    @contextmanager
    def subscribe_all(
        self, sight: Sight, wanted: EventFilter = EVERYTHING, *, delivers: bool = False
    ) -> Iterator[Subscription]:
        """Follow all sessions that `sight` shows. Followers that `delivers` to other systems get an event after all
        clients.
        """
        by_sight = self._deliveries if delivers else self._by_sight
        followers = by_sight.setdefault(sight, set())
        try:
            with self._joined(followers, wanted) as subscription:
                yield subscription
        finally:
            if not followers:
                by_sight.pop(sight, None)

    @contextmanager
    def _joined(self, followers: set[Subscription], wanted: EventFilter) -> Iterator[Subscription]:
        subscription = Subscription(wanted)
        followers.add(subscription)
        if self._closed:
            subscription.close()
        try:
            yield subscription
        finally:
            followers.discard(subscription)

    def close(self) -> None:
        """End all subscriptions, including later ones."""
        self._closed = True
        for followers in (*self._by_sight.values(), *self._deliveries.values(), *self._by_session.values()):
            for subscription in followers:
                subscription.close()


def _seeing(
    by_sight: Mapping[Sight, set[Subscription]], entry: LoggedEvent, limited: Mapping[Sight, set[str]]
) -> list[Subscription]:
    """The followers whose sight shows the session of an entry."""
    showing = {ALL, Sight(owner=entry.owner), *(sight for sight, shown in limited.items() if entry.cursor in shown)}
    return [follower for sight in showing for follower in by_sight.get(sight, ())]


async def follow(
    subscription: Subscription,
    read: Callable[[str | None], Awaitable[list[Message]]],
    after: str | None,
    *,
    live: bool,
) -> AsyncGenerator[list[Message], None]:
    """Yield the messages after a position: first pages that `read` gets from the store, then live messages.

    Ends after the last message of a session, and after the stored messages unless `live`. An empty list means that no
    wanted message arrived for HEARTBEAT_S, or that a page has none. Raises SlowClientError, FeedClosedError.
    """
    subscription.seen = () if after is None else position_order(after)
    caught_up = False
    while not caught_up:
        subscription.restart()
        page = await read(after)
        if page:
            after, subscription.seen = page[-1].position, page[-1].order
            yield _visible(page)
            if page[-1].last:
                return
        # A client may read history slowly: messages that overflow the buffer in the meantime are read from the store.
        caught_up = len(page) < PAGE and not subscription.overflowed
    while live:
        # Some messages may have been buffered before they were read from the store.
        taken = [message for message in await subscription.take(HEARTBEAT_S) if message.order > subscription.seen]
        yield _visible(taken)
        if taken and taken[-1].last:
            return


def _visible(messages: list[Message]) -> list[Message]:
    return [message for message in messages if not message.is_hidden]
