"""Sends events to clients as server-sent events or over WebSockets, until the messages end or the client leaves."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import structlog
from fastapi import WebSocket
from starlette.responses import StreamingResponse
from starlette.websockets import WebSocketDisconnect

from service.api.caller import Caller
from service.api.context import Context
from service.api.reauthorization import AccessRevokedError, while_authorized
from service.background import race
from service.errors import ServiceError
from service.feed.fanout import FeedClosedError, SlowClientError
from service.feed.messages import Message

# WebSocket close codes of RFC 6455 and of the IANA registry.
NORMAL, UNSUPPORTED_DATA, POLICY_VIOLATION, SERVICE_RESTART, TRY_AGAIN_LATER = 1000, 1003, 1008, 1012, 1013
SEND_TIMEOUT_S = 10.0
"""A client that accepts no data for this long is disconnected."""

_log = structlog.get_logger(__name__)


def sse_response(
    context: Context, caller: Caller, messages: AsyncGenerator[list[Message], None], session_id: str | None = None
) -> StreamingResponse:
    """A stream of server-sent events, of one session if it is named. Raises StreamLimitError."""
    context.streams.check(caller.client)
    return StreamingResponse(
        _sse_chunks(context, caller, while_authorized(messages, context, caller, session_id)),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _sse_chunks(
    context: Context, caller: Caller, messages: AsyncGenerator[list[Message], None]
) -> AsyncGenerator[str, None]:
    yield "retry: 1000\n\n"
    with context.streams.opened(caller.client), context.metrics.followers.labels("sse").track_inprogress():
        try:
            async with aclosing(messages) as batches:
                async for batch in batches:
                    yield "".join(f"id: {m.position}\ndata: {m.text}\n\n" for m in batch) or ": heartbeat\n\n"
        except SlowClientError:
            context.metrics.slow_clients.labels("sse").inc()
        except (FeedClosedError, AccessRevokedError):
            return
        except ServiceError as error:
            _log.warning("cannot read events from the store, closing the stream", error=error.detail)


async def serve_websocket(
    websocket: WebSocket,
    context: Context,
    caller: Caller,
    messages: AsyncGenerator[list[Message], None],
    session_id: str | None = None,
) -> None:
    """Send until the messages end, the client disconnects, or it falls behind."""
    context.streams.check(caller.client)
    with context.streams.opened(caller.client), context.metrics.followers.labels("websocket").track_inprogress():
        await websocket.accept()
        authorized = while_authorized(messages, context, caller, session_id)
        await race(_send(websocket, context, authorized), until_gone(websocket))


async def _send(websocket: WebSocket, context: Context, messages: AsyncGenerator[list[Message], None]) -> None:
    code, reason = NORMAL, "session ended"
    try:
        async with aclosing(messages):
            async for batch in messages:
                for message in batch:
                    async with asyncio.timeout(SEND_TIMEOUT_S):
                        await websocket.send_text(message.text)
    except (SlowClientError, TimeoutError):
        context.metrics.slow_clients.labels("websocket").inc()
        code, reason = TRY_AGAIN_LATER, "client too slow; resume after the last event received"
    except AccessRevokedError:
        code, reason = POLICY_VIOLATION, "API key revoked, or an API key is now required"
    except FeedClosedError:
        code, reason = SERVICE_RESTART, "server stopping; resume after the last event received"
    except ServiceError as error:
        _log.warning("cannot read events from the store, closing the stream", error=error.detail)
        code, reason = TRY_AGAIN_LATER, "store unavailable; resume after the last event received"
    except WebSocketDisconnect:
        return
    with suppress(TimeoutError, WebSocketDisconnect):
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await websocket.close(code, reason)


async def until_gone(websocket: WebSocket) -> None:
    """Read and ignore what the client sends, so that its pings and its close are noticed."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass
