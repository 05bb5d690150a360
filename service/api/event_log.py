"""Events of all sessions over JSON, SSE and WebSocket, all with the same cursor."""

from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, WebSocket
from starlette.responses import Response

from service.access.sight import Sight
from service.api.authentication import EventsReader, TicketParameter
from service.api.context import Context, SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.api.event_pages import log_page
from service.api.event_parameters import WantedEvents
from service.api.event_streams import serve_websocket, sse_response
from service.event_filter import EventFilter
from service.event_schemas import Cursor, EventLogPage
from service.feed.fanout import follow
from service.feed.messages import Message, log_message

router = APIRouter(tags=["events"], responses=problem_responses(*AUTH_STATUSES))


@router.get(
    "/v1/events",
    summary="Get the events of all sessions, or follow them with `Accept: text/event-stream`",
    response_model=EventLogPage,
    responses={
        200: {
            "description": "A page of events of the sessions that the caller can see: the newest first, or those "
            "before `before`; or those after `after`, in the order of their commits. With `since`, the newest come "
            "first, and the search ends at events that were committed an hour before it. With `Accept: "
            "text/event-stream`: the events after `Last-Event-ID` or `after`, else only new ones, each a `LogEntry` "
            "with its cursor as id. A WebSocket on the same path receives one `LogEntry` per message. All three accept "
            "the same filters.",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": "id: 1024\ndata: {…}\n\n"}},
        },
        **problem_responses(422, 503),
    },
)
async def get_event_log(
    request: Request,
    context: SharedContext,
    caller: EventsReader,
    wanted: WantedEvents,
    after: Annotated[Cursor | None, Query(description="Only events after this cursor, oldest first.")] = None,
    before: Annotated[Cursor | None, Query(description="Only events before this cursor, newest first.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Largest number of events to return.")] = 100,
    last_event_id: Annotated[Cursor | None, Header(description="SSE only: takes precedence over `after`.")] = None,
    _ticket: TicketParameter = None,
) -> Response | EventLogPage:
    context.audit.record_view(caller.actor, session="all", what="events")
    if "text/event-stream" in request.headers.get("accept", ""):
        return sse_response(context, caller, _follow(context, caller.sight, wanted, last_event_id or after))
    return await log_page(context.store.log, wanted, after=after, before=before, limit=limit, sight=caller.sight)


@router.websocket("/v1/events")
async def follow_event_log(
    websocket: WebSocket,
    context: SharedContext,
    caller: EventsReader,
    wanted: WantedEvents,
    after: Cursor | None = None,
    _ticket: TicketParameter = None,
) -> None:
    """Send the events of all sessions, each as a `LogEntry` with its cursor. Without `after`: only new events."""
    context.audit.record_view(caller.actor, session="all", what="events")
    await serve_websocket(websocket, context, caller, _follow(context, caller.sight, wanted, after))


async def _follow(
    context: Context, sight: Sight, wanted: EventFilter, after: str | None
) -> AsyncGenerator[list[Message], None]:
    async def read(position: str | None) -> list[Message]:
        assert position is not None
        page = await context.store.log.read(after=position, sight=sight)
        return [log_message(entry, wanted) for entry in page.entries]

    with context.feed.subscribe_all(sight, wanted) as subscription:
        after = after or await context.store.log.end()
        async for messages in follow(subscription, read, after, live=True):
            yield messages
