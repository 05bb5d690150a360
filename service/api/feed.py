"""Live events for many clients from one reader of the store: history first, then live, no gap and nothing twice."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from prometheus_client import Histogram

from service.errors import ServiceError
from service.schemas import ENDED_STATES, EVENT, Event, LogEntry
from service.store.base import LoggedEvent, Store
from service.tracing import note_delivery

BUFFER = 1000
"""Messages that wait for one client; a live client that is further behind is too slow."""
PAGE = 500
_RETRY_S = 1.0
_log = structlog.get_logger(__name__)


class SlowClient(Exception):
    """The client did not take its messages in time; it may resume after the last that it got."""


class FeedClosed(Exception):
    """The server is shutting down."""


@dataclass(frozen=True)
class Message:
    """One event as a client gets it. `position` is what it resumes with; messages of a follower grow in `order`."""

    position: str
    order: tuple[int, ...]
    text: str
    last: bool


def position_order(position: str) -> tuple[int, ...]:
    """An event id or a cursor of the common log as numbers that can be compared."""
    return tuple(int(number) for number in position.split("-"))


def session_message(event: Event) -> Message:
    """What a follower of one session gets."""
    last = event.type == "session.state" and event.state in ENDED_STATES
    return Message(event.id, position_order(event.id), EVENT.dump_json(event).decode(), last)


def log_message(logged: LoggedEvent) -> Message:
    """What a follower of all sessions gets."""
    entry = LogEntry(cursor=logged.cursor, event=logged.event)
    return Message(entry.cursor, position_order(entry.cursor), entry.model_dump_json(), False)


class Subscription:
    """The bounded buffer of one follower, filled by the feed."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._changed = asyncio.Event()
        self._overflowed = False
        self._closed = False
        self.seen: tuple[int, ...] = ()
        """What the follower has by other means, the store; no message up to there is put in."""

    def put(self, message: Message) -> None:
        if message.order <= self.seen:
            return
        if len(self._messages) >= BUFFER:
            self._overflowed = True
            self._messages.clear()
        if not self._overflowed:
            self._messages.append(message)
        self._changed.set()

    def close(self) -> None:
        self._closed = True
        self._changed.set()

    def restart(self) -> None:
        """Start buffering anew: what came before will be read from the store."""
        self._messages.clear()
        self._overflowed = False

    @property
    def overflowed(self) -> bool:
        return self._overflowed

    async def take(self, timeout_s: float) -> list[Message]:
        """All that waits, at least one message, or nothing when the time is up. Raises SlowClient, FeedClosed."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return []
        self._changed.clear()
        if self._closed:
            raise FeedClosed
        if self._overflowed:
            raise SlowClient
        messages = list(self._messages)
        self._messages.clear()
        return messages


class Feed:
    """Reads each new event of the store once and hands it to all who follow it. `run` must be running."""

    def __init__(self, store: Store, delivery_seconds: Histogram) -> None:
        self._store = store
        self._delivery_seconds = delivery_seconds
        self._by_session: dict[str, set[Subscription]] = {}
        self._by_owner: dict[str | None, set[Subscription]] = {None: set()}
        """Followers of an owner's sessions; None holds those of all sessions."""
        self._closed = False

    async def run(self) -> None:
        """Until cancelled. While the store is away it tries again; nothing is lost, the cursor stays."""
        cursor: str | None = None
        while True:
            try:
                if cursor is None:
                    cursor = await self._store.log_end()
                await self._store.wait_log(cursor, timeout_s=1.0)
                entries = await self._store.read_log(after=cursor, limit=PAGE)
            except ServiceError as error:
                _log.warning("store not readable", error=error.detail)
                await asyncio.sleep(_RETRY_S)
                continue
            for entry in entries:
                self._dispatch(entry)
                cursor = entry.cursor

    def _dispatch(self, entry: LoggedEvent) -> None:
        of_session = self._by_session.get(entry.event.session_id, set())
        if of_session:
            message = session_message(entry.event)
            for follower in of_session:
                follower.put(message)
        of_owner = self._by_owner[None] | self._by_owner.get(entry.owner, set())
        if of_owner:
            message = log_message(entry)
            for follower in of_owner:
                follower.put(message)
        self._delivery_seconds.observe(max(0.0, (datetime.now(UTC) - entry.event.time).total_seconds()))
        note_delivery(entry.event.traceparent, entry.event.time.timestamp(), len(of_session) + len(of_owner))

    @contextmanager
    def subscribe(self, session_id: str) -> Iterator[Subscription]:
        """Follow one session."""
        followers = self._by_session.setdefault(session_id, set())
        try:
            with self._joined(followers) as subscription:
                yield subscription
        finally:
            if not followers:
                self._by_session.pop(session_id, None)

    @contextmanager
    def subscribe_all(self, owner: str | None) -> Iterator[Subscription]:
        """Follow all sessions, or all of one owner."""
        with self._joined(self._by_owner.setdefault(owner, set())) as subscription:
            yield subscription

    @contextmanager
    def _joined(self, followers: set[Subscription]) -> Iterator[Subscription]:
        subscription = Subscription()
        followers.add(subscription)
        if self._closed:
            subscription.close()
        try:
            yield subscription
        finally:
            followers.discard(subscription)

    def close(self) -> None:
        """Send every follower away; those that come later too."""
        self._closed = True
        for followers in (*self._by_owner.values(), *self._by_session.values()):
            for subscription in followers:
                subscription.close()


async def follow(
    subscription: Subscription,
    read: Callable[[str | None], Awaitable[list[Message]]],
    after: str | None,
    *,
    live: bool,
    heartbeat_s: float,
) -> AsyncGenerator[list[Message], None]:
    """Messages after a position: first pages that `read` gets from the store, then live ones.

    Ends after a message that is the last, and after the stored ones unless `live`. An empty list says that nothing
    came for `heartbeat_s`. Raises SlowClient, FeedClosed.
    """
    subscription.seen = () if after is None else position_order(after)
    caught_up = False
    while not caught_up:
        subscription.restart()
        page = await read(after)
        if page:
            after, subscription.seen = page[-1].position, page[-1].order
            yield page
            if page[-1].last:
                return
        # A client may take its time over history: what overflows meanwhile is read from the store.
        caught_up = len(page) < PAGE and not subscription.overflowed
    while live:
        # Some may have been put in before they were read from the store.
        taken = [message for message in await subscription.take(heartbeat_s) if message.order > subscription.seen]
        yield taken
        if taken and taken[-1].last:
            return
