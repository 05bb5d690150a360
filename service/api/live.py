"""Live video and scores over a WebSocket, from the worker that runs the session."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, suppress
from typing import Annotated

from fastapi import APIRouter, Query, WebSocket
from starlette.websockets import WebSocketDisconnect

from service.api.authentication import SessionsReader, TicketParameter
from service.api.context import Context, SharedContext
from service.api.event_streams import (
    NORMAL,
    POLICY_VIOLATION,
    SEND_TIMEOUT_S,
    SERVICE_RESTART,
    TRY_AGAIN_LATER,
    until_gone,
)
from service.api.reauthorization import AccessRevokedError, while_authorized
from service.api.sessions import SessionId
from service.background import race
from service.errors import NotPlayableError, NotReadyError, ServiceError, StreamLimitError
from service.feed.fanout import FeedClosedError, Subscription
from service.live.protocol import TEXT, VIDEO
from service.live.watch import NotRunningError, TooManyViewersError, WorkerView, open_view
from service.schemas import ENDED_STATES
from service.store.records import SessionRecord

NOT_LIVE = "Only live sources have live video. Uploaded videos are read from `links.video`."
NOT_RUNNING = "No worker runs the session at present. Retry in a few seconds."
TOO_MANY_VIEWERS = "The session has as many viewers as it may have. Retry later; `links.snapshot` shows it meanwhile."
# From the end of a worker's connection to the commit of the session's end.
COMMIT_TIMEOUT_S = 1.0
router = APIRouter(tags=["sessions"])


@router.websocket("/v1/sessions/{session_id}/live")
async def watch_session(
    websocket: WebSocket,
    context: SharedContext,
    caller: SessionsReader,
    session_id: SessionId,
    video: Annotated[bool, Query(description="Whether to send video; without, only scores are sent.")] = True,
    _ticket: TicketParameter = None,
) -> None:
    """Send live video in binary messages, and scores and times in text messages; see `GET /asyncapi.json`."""
    record = await context.store.sessions.get(session_id, sight=caller.sight)
    context.audit.record_view(caller.actor, session=session_id, what="video")
    if record.video is not None and not record.video.live:
        raise NotPlayableError(NOT_LIVE)
    context.streams.check(caller.client)
    async with AsyncExitStack() as stack:
        stack.enter_context(context.streams.opened(caller.client))
        view = await _open(stack, context, record, with_video=video)
        stack.enter_context(context.metrics.followers.labels("live").track_inprogress())
        await websocket.accept()
        messages = while_authorized(view.messages(), context, caller, session_id)
        await race(_send(websocket, context, session_id, messages), until_gone(websocket))


async def _open(stack: AsyncExitStack, context: Context, record: SessionRecord, *, with_video: bool) -> WorkerView:
    """Raises NotReadyError, StreamLimitError, StoreUnavailableError."""
    worker = await context.store.workers.owner_of(record.id)
    if worker is None or worker.push is None:
        raise NotReadyError(NOT_RUNNING, retry_after_s=2)
    try:
        return await stack.enter_async_context(open_view(record.id, worker.push, "video" if with_video else "scores"))
    except NotRunningError:
        raise NotReadyError(NOT_RUNNING, retry_after_s=2) from None
    except TooManyViewersError:
        raise StreamLimitError(TOO_MANY_VIEWERS, retry_after_s=10) from None


async def _send(
    websocket: WebSocket, context: Context, session_id: str, messages: AsyncGenerator[tuple[bytes, bytes], None]
) -> None:
    try:
        with context.feed.subscribe(session_id) as subscription:
            await race(_pass_on(websocket, messages), _until_server_stops(subscription))
            code, reason = await _why_ended(context, session_id, subscription)
    except TimeoutError:
        context.metrics.slow_clients.labels("live").inc()
        code, reason = TRY_AGAIN_LATER, "client too slow"
    except AccessRevokedError:
        code, reason = POLICY_VIOLATION, "API key revoked, or an API key is now required"
    except FeedClosedError:
        code, reason = SERVICE_RESTART, "server stopping"
    except ServiceError as error:
        code, reason = TRY_AGAIN_LATER, error.detail
    except WebSocketDisconnect:
        return
    with suppress(TimeoutError, WebSocketDisconnect):
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await websocket.close(code, reason)


async def _pass_on(websocket: WebSocket, messages: AsyncGenerator[tuple[bytes, bytes], None]) -> None:
    """Raises TimeoutError, AccessRevokedError, ServiceError and WebSocketDisconnect."""
    async with aclosing(messages):
        async for kind, payload in messages:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                if kind == TEXT:
                    await websocket.send_text(payload.decode())
                elif kind == VIDEO:
                    await websocket.send_bytes(payload)


async def _until_server_stops(subscription: Subscription) -> None:
    """Raises FeedClosedError."""
    while True:
        await subscription.take(60.0)


async def _why_ended(context: Context, session_id: str, subscription: Subscription) -> tuple[int, str]:
    """A close code and a reason, after the worker has closed its connection. Raises FeedClosedError, ServiceError."""
    if (await context.store.sessions.get(session_id)).state not in ENDED_STATES:
        await subscription.take(COMMIT_TIMEOUT_S)
    if (await context.store.sessions.get(session_id)).state in ENDED_STATES:
        return NORMAL, "session ended"
    return TRY_AGAIN_LATER, "another worker takes the session"
