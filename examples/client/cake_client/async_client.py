"""The asynchronous client: the same methods as `Client`."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import Self, TypeVar

from websockets.exceptions import ConnectionClosed

from cake_client import calls, feedback, session_rules, subscriptions
from cake_client.async_transport import AsyncTransport
from cake_client.calls import MESSAGE_BYTES, Call, Resumption, Server
from cake_client.client import OnInterruption
from cake_client.errors import CakeError
from cake_client.event_filter import EventFilter
from cake_client.feedback import Feedback, FeedbackList
from cake_client.model_methods import AsyncModels
from cake_client.models import (
    Clip,
    Event,
    EventPage,
    LogEntry,
    Session,
    SessionPage,
    parse,
    parse_entry,
    parse_event,
    parse_page,
)
from cake_client.session_rules import Rules, TriedRules
from cake_client.submission import OnProgress, SessionOptions, SourceOptions, Upload
from cake_client.subscriptions import (
    NewTarget,
    Subscription,
    SubscriptionList,
    SubscriptionOptions,
    SubscriptionTest,
)

T = TypeVar("T")


class AsyncClient:
    """A CAKE server. An asynchronous context manager, for one event loop.

    Arguments and errors are those of `Client`.
    """

    def __init__(
        self,
        server: str,
        key: str | None = None,
        *,
        timeout_s: float = 30.0,
        retry_for_s: float = 30.0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._transport = AsyncTransport(
            Server(server, key), timeout_s=timeout_s, retry_for_s=retry_for_s, ssl_context=ssl_context
        )
        self.models = AsyncModels(self._transport.send)
        """The server's models."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    # Sessions

    async def submit_file(
        self,
        file: str | PathLike[str],
        options: SessionOptions | None = None,
        source: SourceOptions | None = None,
        *,
        on_progress: OnProgress | None = None,
        idempotency_key: str | None = None,
    ) -> Session:
        """Upload a video, which is read while it is sent. Also raises OSError if it cannot be read."""
        body = Upload(file, calls.upload_options(options, source), on_progress)
        return parse(Session, await self._transport.send(calls.upload(body, idempotency_key)))

    async def submit_url(
        self,
        url: str,
        options: SessionOptions | None = None,
        source: SourceOptions | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Session:
        """Have the server open a camera or a video on the web."""
        body = {"url": url, **(source or SourceOptions()).to_json()}
        return parse(Session, await self._transport.send(calls.submission(body, options, idempotency_key)))

    async def submit_push(
        self,
        options: SessionOptions | None = None,
        source: SourceOptions | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Session:
        """Create a session that waits for `push`."""
        body = {"push": True, **(source or SourceOptions()).to_json()}
        return parse(Session, await self._transport.send(calls.submission(body, options, idempotency_key)))

    async def session(self, session_id: str) -> Session:
        """The session's current state. Raises ApiError if there is no session with this id."""
        return parse(Session, await self._transport.send(Call("GET", calls.session_path(session_id))))

    async def sessions(
        self,
        *,
        state: str | None = None,
        names: Sequence[str] = (),
        metadata: Mapping[str, Sequence[str]] | None = None,
        page_size: int = 50,
    ) -> AsyncIterator[Session]:
        """All sessions of the key, or those with one of the names, and for each key of the metadata one of the values.

        Newest first. Pages are requested as needed.
        """
        before: str | None = None
        while True:
            call = calls.sessions(state, names, metadata or {}, before, page_size)
            page = parse(SessionPage, await self._transport.send(call))
            for session in page.sessions:
                yield session
            if page.next is None:
                return
            before = page.next

    async def stop(self, session_id: str) -> Session | None:
        """Stop a session; an ended one is deleted with all its data, and None is returned."""
        text = await self._transport.send(calls.stop(session_id))
        return parse(Session, text) if text else None

    async def push(self, session_id: str, chunks: AsyncIterable[bytes]) -> None:
        """Send a stream (MPEG-TS, Matroska, WebM, fragmented MP4) to a session of `submit_push`, to its end.

        Waits while the server reads more slowly than `chunks` are produced. Also raises PushInterruptedError: push
        again, from the beginning of a stream.
        """
        path = calls.session_path(session_id, "/stream")
        async with await self._transport.repeated(lambda: self._transport.connect(path, {})) as socket:
            try:
                async for chunk in chunks:
                    for at in range(0, len(chunk), MESSAGE_BYTES):
                        await socket.send(chunk[at : at + MESSAGE_BYTES])
            except ConnectionClosed as error:
                calls.raise_refused_push(self._transport.server, error)

    # Review

    async def clip(
        self, session_id: str, event_id: str, *, before_s: float | None = None, after_s: float | None = None
    ) -> Clip:
        """The video around the start of an action: by default from 5 s before until 10 s after it."""
        return calls.clip_of(await self._transport.request(calls.clip(session_id, event_id, before_s, after_s)))

    async def missed_clip(
        self, session_id: str, feedback_id: str, *, before_s: float | None = None, after_s: float | None = None
    ) -> Clip:
        """Like `clip`, for an action that was added with `add_missed`, unless its `clip_problem` says why not."""
        call = calls.missed_clip(session_id, feedback_id, before_s, after_s)
        return calls.clip_of(await self._transport.request(call))

    async def still(self, session_id: str, event_id: str) -> bytes:
        """The frame at which an action started, as JPEG."""
        return await self._transport.send(calls.still(session_id, event_id))

    async def set_rules(self, session_id: str, rules: Rules) -> Session:
        """Replace the session's own rules, by label, from the next frame on; other labels have the model's."""
        return parse(Session, await self._transport.send(session_rules.chosen(session_id, rules)))

    async def try_rules(
        self, session_id: str, rules: Rules, *, after_s: float | None = None, until_s: float | None = None
    ) -> TriedRules:
        """What other rules would have found in the scores that the session kept. Changes nothing."""
        return parse(TriedRules, await self._transport.send(session_rules.trial(session_id, rules, after_s, until_s)))

    async def feedback(self, session_id: str) -> tuple[Feedback, ...]:
        """People's feedback on the session's events, ordered by `start_s`."""
        return parse(FeedbackList, await self._transport.send(feedback.listed(session_id))).feedback

    async def judge(self, session_id: str, event_id: str, *, is_right: bool, note: str = "") -> Feedback:
        """Judge whether an event is right; replaces the previous verdict."""
        return parse(Feedback, await self._transport.send(feedback.verdict(session_id, event_id, is_right, note)))

    async def add_missed(
        self, session_id: str, label: str, start_s: float, end_s: float | None = None, *, region: str | None = None
    ) -> Feedback:
        """Add an action for which there was no event."""
        return parse(Feedback, await self._transport.send(feedback.missed(session_id, label, start_s, end_s, region)))

    # Events

    async def events(
        self,
        session_id: str,
        *,
        after: str | None = None,
        wanted: EventFilter | None = None,
        limit: int = 500,
        wait_s: float = 0,
    ) -> EventPage:
        """The events after an id, as of now; with `wait_s`, waits up to that long for the first one, at most 50 s."""
        return parse_page(await self._transport.send(calls.events(session_id, after, wanted, limit, wait_s)))

    def follow(
        self,
        session_id: str,
        *,
        after: str | None = None,
        wanted: EventFilter | None = None,
        on_interruption: OnInterruption | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Each event of a session once, in order, until the session has ended, across restarts of the server."""
        path = calls.session_path(session_id, "/events")
        return self._follow(path, Resumption(after, wanted), parse_event, lambda event: event.id, on_interruption)

    def follow_all(
        self,
        *,
        after: str | None = None,
        wanted: EventFilter | None = None,
        on_interruption: OnInterruption | None = None,
    ) -> AsyncGenerator[LogEntry, None]:
        """The events of all sessions of the key, without end. Resumes after a cursor; "0" replays all stored events."""
        return self._follow(
            "/v1/events", Resumption(after, wanted), parse_entry, lambda entry: entry.cursor, on_interruption
        )

    async def _follow(
        self,
        path: str,
        place: Resumption,
        parse_message: Callable[[str | bytes], T],
        position_of: Callable[[T], str],
        on_interruption: OnInterruption | None,
    ) -> AsyncGenerator[T, None]:
        while True:
            try:
                async with await self._transport.connect(path, place.query) as socket:
                    while True:
                        item = parse_message(await socket.recv())
                        if place.advance(position_of(item)):
                            yield item
            except ConnectionClosed as closed:
                error = calls.lost(self._transport.server, closed.rcvd)
            except CakeError as failure:
                error = failure
            if error is None:
                return
            delay_s = place.delay_s(error)
            if on_interruption is not None:
                on_interruption(error)
            await asyncio.sleep(delay_s)

    # Subscriptions

    async def subscribe(self, target: NewTarget, options: SubscriptionOptions | None = None) -> Subscription:
        """Deliver the events of many sessions to a target. `target.secret` of the result is returned only here."""
        return parse(Subscription, await self._transport.send(subscriptions.subscribe(target, options)))

    async def subscriptions(self) -> tuple[Subscription, ...]:
        """All subscriptions of the key."""
        return parse(SubscriptionList, await self._transport.send(subscriptions.listed())).subscriptions

    async def pause_subscription(self, subscription_id: str) -> Subscription:
        """Stop deliveries until the subscription is resumed. Events are kept until then."""
        return parse(Subscription, await self._transport.send(subscriptions.pause(subscription_id)))

    async def resume_subscription(self, subscription_id: str, *, skip_missed: bool = False) -> Subscription:
        """Continue where the subscription was paused or disabled, or with new events."""
        return parse(Subscription, await self._transport.send(subscriptions.resume(subscription_id, skip_missed)))

    async def test_subscription(self, subscription_id: str) -> SubscriptionTest:
        """Have the server send a test message now."""
        return parse(SubscriptionTest, await self._transport.send(subscriptions.test(subscription_id)))

    async def rotate_subscription_secret(
        self, subscription_id: str, secret: str | None = None, *, keep_old_s: float | None = None
    ) -> Subscription:
        """Replace a webhook's secret. For `keep_old_s`, by default a day, deliveries are signed with both secrets."""
        call = subscriptions.rotate_secret(subscription_id, secret, keep_old_s)
        return parse(Subscription, await self._transport.send(call))

    async def delete_subscription(self, subscription_id: str) -> None:
        """Stop deliveries and delete the subscription."""
        await self._transport.send(subscriptions.delete(subscription_id))
