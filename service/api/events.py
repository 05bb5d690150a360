"""Events of one session over JSON, SSE and WebSocket, all with the same cursor."""

from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, WebSocket
from starlette.responses import Response

from service.api.authentication import EventsReader, TicketParameter
from service.api.caller import Caller
from service.api.context import Context, SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.api.event_pages import session_page
from service.api.event_parameters import WantedEvents
from service.api.event_streams import serve_websocket, sse_response
from service.api.reauthorization import require_authorized
from service.api.sessions import SessionId
from service.event_filter import EventFilter
from service.event_schemas import EventId, EventPage
from service.feed.fanout import FeedClosedError, follow
from service.feed.messages import Message, position_order, session_message
from service.schemas import ENDED_STATES

MAX_WAIT_S = 50.0
"""Longest long poll. Proxies close requests without a response after 60 s."""

router = APIRouter(tags=["events"], responses=problem_responses(*AUTH_STATUSES))
After = Annotated[EventId | None, Query(description="Only events after this id. Default: from the first event.")]


@router.get(
    "/v1/sessions/{session_id}/events",
    summary="Get the events of a session as a JSON page, or follow them with `Accept: text/event-stream`",
    response_model=EventPage,
    responses={
        200: {
            "description": "A page of events. With `Accept: text/event-stream`: all events after `Last-Event-ID` or "
            "`after`, then live events, one per message, with the event's id. The stream ends when the session has "
            "ended. A WebSocket on the same path receives one event per text message. It is closed with 1000 after the "
            "last event, 1008 when its key was revoked, 1012 when the server stops and 1013 when the client falls "
            "behind or the store is unavailable; resume with `?after=ID`. Browsers open both kinds of stream with "
            "`?ticket=`, see `POST /v1/tickets`. All three accept the same filters.",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": "id: 12433-0\ndata: {…}\n\n"}},
        },
        204: {"description": "SSE only: the session has ended and there are no events after `Last-Event-ID`."},
        **problem_responses(404, 422, 503),
    },
)
async def get_events(
    request: Request,
    context: SharedContext,
    caller: EventsReader,
    session_id: SessionId,
    wanted: WantedEvents,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Largest number of events to return.")] = 500,
    wait_s: Annotated[
        float,
        Query(ge=0, le=60, allow_inf_nan=False, description="Long poll: how long to wait for an event; at most 50 s."),
    ] = 0,
    last_event_id: Annotated[EventId | None, Header(description="SSE only: takes precedence over `after`.")] = None,
    _ticket: TicketParameter = None,
) -> Response | EventPage:
    await context.store.sessions.get(session_id, sight=caller.sight)
    context.audit.record_view(caller.actor, session=session_id, what="events")
    if "text/event-stream" in request.headers.get("accept", ""):
        return await _sse(context, caller, session_id, wanted, last_event_id or after)
    return await _poll(context, caller, session_id, wanted, after, limit, min(wait_s, MAX_WAIT_S))


async def _poll(
    context: Context,
    caller: Caller,
    session_id: str,
    wanted: EventFilter,
    after: str | None,
    limit: int,
    wait_s: float,
) -> EventPage:
    """Return available events at once; else wait up to `wait_s` for the first one, unless the session has ended."""
    log = context.store.log
    with context.feed.subscribe(session_id, wanted) as subscription:
        subscription.seen = () if after is None else position_order(after)
        record = await context.store.sessions.get(session_id)
        page = await session_page(log, session_id, wanted, after=after, limit=limit)
        if page.events or record.state in ENDED_STATES or wait_s == 0:
            return page
        context.streams.check(caller.client)
        try:
            with context.streams.opened(caller.client):
                await subscription.take(wait_s)
        except FeedClosedError:
            return page
        await require_authorized(context, caller)
        await context.store.sessions.get(session_id, sight=caller.sight)
        return await session_page(log, session_id, wanted, after=after, limit=limit)


async def _sse(context: Context, caller: Caller, session_id: str, wanted: EventFilter, after: str | None) -> Response:
    record = await context.store.sessions.get(session_id)
    if record.state in ENDED_STATES:
        page = await session_page(context.store.log, session_id, wanted, after=after, limit=1)
        if not page.events:
            # 204 stops a browser's EventSource, which otherwise reconnects whenever a stream ends.
            return Response(status_code=204)
    return sse_response(context, caller, _follow(context, session_id, wanted, after), session_id)


async def _follow(
    context: Context, session_id: str, wanted: EventFilter, after: str | None
) -> AsyncGenerator[list[Message], None]:
    async def read(position: str | None) -> list[Message]:
        events = await context.store.log.read_events(session_id, after=position)
        return [session_message(event, wanted) for event in events]

    with context.feed.subscribe(session_id, wanted) as subscription:
        record = await context.store.sessions.get(session_id)
        live = record.state not in ENDED_STATES
        async for messages in follow(subscription, read, after, live=live):
            yield messages


@router.websocket("/v1/sessions/{session_id}/events")
async def follow_session(
    websocket: WebSocket,
    context: SharedContext,
    caller: EventsReader,
    session_id: SessionId,
    wanted: WantedEvents,
    after: After = None,
    _ticket: TicketParameter = None,
) -> None:
    """Send one event per text message; see the GET of this path."""
    await context.store.sessions.get(session_id, sight=caller.sight)
    context.audit.record_view(caller.actor, session=session_id, what="events")
    await serve_websocket(websocket, context, caller, _follow(context, session_id, wanted, after), session_id)
