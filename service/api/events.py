"""Events of one session, or of all, over JSON, SSE and WebSocket; the cursor is the same for all three."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Annotated

import structlog
from fastapi import APIRouter, Header, Query, Request, WebSocket
from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocketDisconnect

from service.api.caller import Caller, EventsReader
from service.api.close_codes import NORMAL, POLICY_VIOLATION, SERVICE_RESTART, TRY_AGAIN_LATER
from service.api.context import Context, SharedContext
from service.api.feed import FeedClosed, Message, SlowClient, follow, log_message, position_order, session_message
from service.api.problems import ASKS, problems
from service.api.validity import KeyRevoked, while_valid
from service.errors import ServiceError
from service.first_of import first_of
from service.schemas import ENDED_STATES, Cursor, Event, EventId, EventPage

HEARTBEAT_S = 15.0
SEND_PATIENCE_S = 10.0
"""A client that takes nothing for this long is too slow."""

_log = structlog.get_logger(__name__)
router = APIRouter(tags=["events"], responses=problems(*ASKS))
After = Annotated[EventId | None, Query(description="Only events after this id; from the beginning if absent.")]


@router.get(
    "/v1/sessions/{session_id}/events",
    summary="Events of a session: a JSON page, or a live stream with `Accept: text/event-stream`",
    response_model=EventPage,
    responses={
        200: {
            "description": "A page; or with `Accept: text/event-stream` all events after `Last-Event-ID` or `after`, "
            "then live ones, one per message with the event's id. The stream ends when the session has ended. "
            "A WebSocket on the same path gets one event per text message and is closed with 1000 after the last, "
            "with 1013 when it is too slow, with 1012 when the server stops and with 1008 when its key was revoked; it "
            "resumes with `?after=ID`. Browsers open both kinds of stream with `?ticket=`, see `POST /v1/tickets`.",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": "id: 12433-0\ndata: {…}\n\n"}},
        },
        204: {"description": "SSE only: the session has ended and nothing comes after `Last-Event-ID`."},
        **problems(404, 422, 503),
    },
)
async def get_events(
    request: Request,
    context: SharedContext,
    caller: EventsReader,
    session_id: str,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 500,
    wait_s: Annotated[float, Query(ge=0, le=60, description="Wait this long for an event if there is none.")] = 0,
    last_event_id: Annotated[EventId | None, Header(description="SSE: wins over `after`.")] = None,
) -> Response | EventPage:
    await context.store.get_session(session_id, owner=caller.owner)
    if "text/event-stream" in request.headers.get("accept", ""):
        return await _sse(context, caller, session_id, last_event_id or after)
    events = await _poll(context, session_id, after, limit, wait_s)
    return EventPage(events=events, next=events[-1].id if events else after)


async def _poll(context: Context, session_id: str, after: str | None, limit: int, wait_s: float) -> list[Event]:
    """At once what there is; else the first that comes within `wait_s`, unless the session has ended."""
    with context.feed.subscribe(session_id) as subscription:
        subscription.seen = () if after is None else position_order(after)
        record = await context.store.get_session(session_id)
        events = await context.store.read_events(session_id, after=after, limit=limit)
        if events or record.state in ENDED_STATES or wait_s == 0:
            return events
        try:
            await subscription.take(wait_s)
        except FeedClosed:
            return []
        return await context.store.read_events(session_id, after=after, limit=limit)


async def _sse(context: Context, caller: Caller, session_id: str, after: str | None) -> Response:
    record = await context.store.get_session(session_id)
    ended = record.state in ENDED_STATES
    if ended and not await context.store.read_events(session_id, after=after, limit=1):
        # A browser's EventSource reconnects after every end of stream until it is told so.
        return Response(status_code=204)
    return StreamingResponse(
        _sse_chunks(context, while_valid(_follow_session(context, session_id, after), context, caller)),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _sse_chunks(context: Context, messages: AsyncGenerator[list[Message], None]) -> AsyncGenerator[str, None]:
    yield "retry: 1000\n\n"
    with context.metrics.followers.labels("sse").track_inprogress():
        try:
            async with aclosing(messages) as batches:
                async for batch in batches:
                    yield "".join(f"id: {m.position}\ndata: {m.text}\n\n" for m in batch) or ": heartbeat\n\n"
        except SlowClient:
            context.metrics.slow_clients.labels("sse").inc()
        except (FeedClosed, KeyRevoked):
            return
        except ServiceError as error:
            _log.warning("events not readable", error=error.detail)


async def _follow_session(context: Context, session_id: str, after: str | None) -> AsyncGenerator[list[Message], None]:
    async def read(position: str | None) -> list[Message]:
        return [session_message(event) for event in await context.store.read_events(session_id, after=position)]

    with context.feed.subscribe(session_id) as subscription:
        record = await context.store.get_session(session_id)
        live = record.state not in ENDED_STATES
        async for messages in follow(subscription, read, after, live=live, heartbeat_s=HEARTBEAT_S):
            yield messages


async def _follow_all(context: Context, owner: str | None, after: str | None) -> AsyncGenerator[list[Message], None]:
    async def read(position: str | None) -> list[Message]:
        assert position is not None
        return [log_message(entry) for entry in await context.store.read_log(after=position, owner=owner)]

    with context.feed.subscribe_all(owner) as subscription:
        after = after or await context.store.log_end()
        async for messages in follow(subscription, read, after, live=True, heartbeat_s=HEARTBEAT_S):
            yield messages


@router.websocket("/v1/sessions/{session_id}/events")
async def follow_session(
    websocket: WebSocket, context: SharedContext, caller: EventsReader, session_id: str, after: After = None
) -> None:
    """One event per text message; see the GET of this path."""
    await context.store.get_session(session_id, owner=caller.owner)
    await _serve(websocket, context, caller, _follow_session(context, session_id, after))


@router.websocket("/v1/events")
async def follow_all(
    websocket: WebSocket,
    context: SharedContext,
    caller: EventsReader,
    after: Cursor | None = None,
) -> None:
    """All sessions' events, each as a `LogEntry` with its cursor; without `after` only those that come from now on."""
    await _serve(websocket, context, caller, _follow_all(context, caller.owner, after))


async def _serve(
    websocket: WebSocket, context: Context, caller: Caller, messages: AsyncGenerator[list[Message], None]
) -> None:
    """Send until the messages end, the client goes, or it is too slow."""
    await websocket.accept()
    with context.metrics.followers.labels("websocket").track_inprogress():
        await first_of(_send(websocket, context, while_valid(messages, context, caller)), _until_gone(websocket))


async def _send(websocket: WebSocket, context: Context, messages: AsyncGenerator[list[Message], None]) -> None:
    code, reason = NORMAL, "the session has ended"
    try:
        async with aclosing(messages):
            async for batch in messages:
                for message in batch:
                    async with asyncio.timeout(SEND_PATIENCE_S):
                        await websocket.send_text(message.text)
    except (SlowClient, TimeoutError):
        context.metrics.slow_clients.labels("websocket").inc()
        code, reason = TRY_AGAIN_LATER, "too slow; resume after the last event received"
    except KeyRevoked:
        code, reason = POLICY_VIOLATION, "the API key was revoked, or one is needed by now"
    except FeedClosed:
        code, reason = SERVICE_RESTART, "the server stops; resume after the last event received"
    except ServiceError as error:
        _log.warning("events not readable", error=error.detail)
        code, reason = TRY_AGAIN_LATER, "the store is away; resume after the last event received"
    except WebSocketDisconnect:
        return
    with suppress(TimeoutError, WebSocketDisconnect):
        async with asyncio.timeout(SEND_PATIENCE_S):
            await websocket.close(code, reason)


async def _until_gone(websocket: WebSocket) -> None:
    """What a client sends is read, so that pings and its goodbye are seen, and ignored."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass
