"""Push a video to a session: as the body of a PUT or POST request, or as the messages of a WebSocket."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import NoReturn

from fastapi import APIRouter, Request, WebSocket
from starlette.websockets import WebSocketDisconnect

from service.api.authentication import SessionsWriter, TicketParameter
from service.api.caller import Caller
from service.api.context import Context, SharedContext
from service.api.error_responses import AUTH_STATUSES, problem_responses
from service.api.event_streams import NORMAL, POLICY_VIOLATION, TRY_AGAIN_LATER, UNSUPPORTED_DATA
from service.api.reauthorization import AccessRevokedError, while_authorized
from service.api.sessions import SessionId, session_response
from service.background import race
from service.errors import (
    NotAPushError,
    NotReadyError,
    PushConflictError,
    PushEndedError,
    ServiceError,
    UnauthorizedError,
    UnsupportedMediaTypeError,
)
from service.feed.fanout import FeedClosedError, Subscription
from service.push.forward import NotWaitingError, Push, WorkerClosedError, open_push
from service.push.protocol import PushAddress
from service.schemas import ENDED_STATES, Session, SessionState

CONNECT_TIMEOUT_S = 5.0
# From the end of a decoder to the commit of the session's new state.
COMMIT_TIMEOUT_S = 1.0
PUSH_AGAIN = "The worker stopped reading this stream. Push again, from the beginning of a stream."
_CLOSE_CODES: dict[type[ServiceError], int] = {
    PushEndedError: NORMAL,
    UnsupportedMediaTypeError: UNSUPPORTED_DATA,
    UnauthorizedError: POLICY_VIOLATION,
}

router = APIRouter(tags=["sessions"], responses=problem_responses(*AUTH_STATUSES))
_BODY = {
    "requestBody": {
        "required": True,
        "description": "MPEG-TS, Matroska, WebM or fragmented MP4, of any length, sent as it is produced.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.put(
    "/v1/sessions/{session_id}/stream",
    summary="Push a video to a session whose source is `push`",
    status_code=202,
    responses={
        202: {
            "description": "The whole stream was accepted. The video is analysed as it arrives: a session of pace "
            "`fast` reads only as fast as it can analyse, one of pace `realtime` drops frames that it has no time to "
            "analyse. The end of the body is the end of the video. When a stream breaks off, the session is "
            "`reconnecting` and accepts another stream. A WebSocket on the same path accepts binary messages of at "
            "most 64 KiB; close it with 1000 at the end of the video. The server closes it with 1000 when the session "
            "has ended, 1003 after a text message, 1008 when its key was revoked and 1013 when another stream may be "
            "pushed."
        },
        **problem_responses(404, 409, 422, 503),
    },
    openapi_extra=_BODY,
)
@router.post(
    "/v1/sessions/{session_id}/stream",
    operation_id="post_stream",
    summary="Push a video; the same as PUT, since FFmpeg sends POST",
    status_code=202,
    responses=problem_responses(404, 409, 422, 503),
    openapi_extra=_BODY,
)
async def push_stream(
    request: Request, context: SharedContext, caller: SessionsWriter, session_id: SessionId
) -> Session:
    request.state.answers_early = True
    context.streams.check(caller.client)
    with context.streams.opened(caller.client):
        async with aclosing(await _connect(context, caller, session_id)) as push:
            await _forward(context, caller, session_id, push, request.stream())
    return session_response(await context.store.sessions.get(session_id), context.settings.root_path)


@router.websocket("/v1/sessions/{session_id}/stream")
async def push_messages(
    websocket: WebSocket,
    context: SharedContext,
    caller: SessionsWriter,
    session_id: SessionId,
    _ticket: TicketParameter = None,
) -> None:
    """Push a video in binary messages; see the PUT of this path."""
    context.streams.check(caller.client)
    with context.streams.opened(caller.client):
        async with aclosing(await _connect(context, caller, session_id)) as push:
            await websocket.accept()
            try:
                await _forward(context, caller, session_id, push, _messages(websocket))
            except WebSocketDisconnect:
                return
            except ServiceError as error:
                with suppress(WebSocketDisconnect):
                    await websocket.close(_CLOSE_CODES.get(type(error), TRY_AGAIN_LATER), error.detail)


async def _connect(context: Context, caller: Caller, session_id: str) -> Push:
    """Connect to the session's worker.

    Raises NotAPushError, PushEndedError, PushConflictError when another stream is being pushed, and NotReadyError when
    no worker is free.
    """
    record = await context.store.sessions.get(session_id, sight=caller.sight)
    context.audit.record("session.push", caller.actor, session=session_id)
    if record.source.kind != "push":
        raise NotAPushError(
            'This session opens its source itself. To push a video, submit a session with the source {"push": true}.'
        )

    async def find_worker() -> PushAddress | None:
        _check_not_ended((await context.store.sessions.get(session_id)).state)
        worker = await context.store.workers.owner_of(session_id)
        return None if worker is None else worker.push

    try:
        return await open_push(session_id, find_worker, CONNECT_TIMEOUT_S)
    except NotWaitingError:
        if (await context.store.sessions.get(session_id)).state == "running":
            raise PushConflictError("Another stream is being pushed to this session. End that stream first.") from None
        raise NotReadyError(
            "No worker is available for this session yet. Retry in a few seconds.", retry_after_s=2
        ) from None


async def _forward(
    context: Context, caller: Caller, session_id: str, push: Push, chunks: AsyncGenerator[bytes, None]
) -> None:
    """Forward the stream to the worker.

    Raises PushEndedError, NotReadyError when another stream may follow, UnauthorizedError, and what `chunks` raises.
    """
    counted = _counted(while_authorized(chunks, context, caller, session_id), context)
    with context.feed.subscribe(session_id) as subscription:
        try:
            await race(push.send_all(counted), _until_server_stops(subscription))
        except WorkerClosedError:
            await _raise_why_closed(context, session_id)
        except FeedClosedError:
            raise NotReadyError(PUSH_AGAIN, retry_after_s=2) from None
        except AccessRevokedError:
            raise UnauthorizedError("The API key was revoked. Use another key, or ask the operator for one.") from None


async def _counted(chunks: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        context.metrics.upload_bytes.inc(len(chunk))
        yield chunk


async def _messages(websocket: WebSocket) -> AsyncGenerator[bytes, None]:
    """Yield the messages up to the end of the video.

    Raises WebSocketDisconnect when the client disconnected before, UnsupportedMediaTypeError.
    """
    while (message := await websocket.receive())["type"] != "websocket.disconnect":
        if message.get("bytes") is None:
            raise UnsupportedMediaTypeError("Send the video in binary messages.")
        yield message["bytes"]
    if message["code"] != NORMAL:
        raise WebSocketDisconnect(message["code"])


async def _until_server_stops(subscription: Subscription) -> None:
    """Raises FeedClosedError."""
    while True:
        await subscription.take(60.0)


async def _raise_why_closed(context: Context, session_id: str) -> NoReturn:
    """Raises PushEndedError when the session has ended, NotReadyError when it accepts another stream."""
    with context.feed.subscribe(session_id) as subscription, suppress(FeedClosedError):
        if (await context.store.sessions.get(session_id)).state not in ENDED_STATES:
            await subscription.take(COMMIT_TIMEOUT_S)
    _check_not_ended((await context.store.sessions.get(session_id)).state)
    raise NotReadyError(PUSH_AGAIN, retry_after_s=1)


def _check_not_ended(state: SessionState) -> None:
    """Raises PushEndedError."""
    if state in ENDED_STATES:
        raise PushEndedError(f"The session is {state}. Submit a new session to push another stream.")
