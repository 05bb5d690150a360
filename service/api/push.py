"""Push a video into a session that waits for it: the body of a PUT or POST, or the messages of a WebSocket."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import NoReturn

from fastapi import APIRouter, Request, WebSocket
from starlette.websockets import WebSocketDisconnect

from service.api.caller import Caller, SessionsWriter
from service.api.close_codes import NORMAL, POLICY_VIOLATION, TRY_AGAIN_LATER, UNSUPPORTED_DATA
from service.api.context import Context, SharedContext
from service.api.feed import FeedClosed, Subscription
from service.api.problems import ASKS, problems
from service.api.sessions import session_answer
from service.api.validity import KeyRevoked, while_valid
from service.errors import (
    NotAPush,
    NotReady,
    PushConflict,
    PushEnded,
    ServiceError,
    Unauthorized,
    UnsupportedMediaType,
)
from service.first_of import first_of
from service.push.forward import NotWaiting, Push, WorkerClosed, open_push
from service.push.wire import PushAddress
from service.schemas import ENDED_STATES, Session, SessionState

REACH_WITHIN_S = 5.0
# From the end of a decoder to the commit of what that means for its session.
TOLD_WITHIN_S = 1.0
PUSH_AGAIN = "The session takes no more of this stream. Push again, from the beginning of a stream."
_CLOSE_CODES: dict[type[ServiceError], int] = {
    PushEnded: NORMAL,
    UnsupportedMediaType: UNSUPPORTED_DATA,
    Unauthorized: POLICY_VIOLATION,
}

router = APIRouter(tags=["sessions"], responses=problems(*ASKS))
_BODY = {
    "requestBody": {
        "required": True,
        "description": "MPEG-TS, Matroska, WebM or fragmented MP4, of any length, as it comes.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.put(
    "/v1/sessions/{session_id}/stream",
    summary="Push a video into a session whose source is `push`",
    status_code=202,
    responses={
        202: {
            "description": "All of it was taken. The video is analysed as it arrives: a session of pace `fast` takes "
            "no more than it can analyse, one of pace `realtime` leaves out what it has no time for. The end of the "
            "body is the end of the video. After a stream that broke off the session is `reconnecting`, and takes "
            "another. A WebSocket on the same path takes binary messages of at most 64 KiB; closed with 1000, the "
            "video is at its end. The server closes it with 1000 when the session has ended, with 1013 when another "
            "stream may be pushed, with 1003 after a text message and with 1008 when its key was revoked."
        },
        **problems(404, 409, 422, 503),
    },
    openapi_extra=_BODY,
)
@router.post(
    "/v1/sessions/{session_id}/stream",
    summary="The same as PUT: FFmpeg sends POST",
    status_code=202,
    responses=problems(404, 409, 422, 503),
    openapi_extra=_BODY,
)
async def push_stream(request: Request, context: SharedContext, caller: SessionsWriter, session_id: str) -> Session:
    request.state.answers_early = True
    async with aclosing(await _reach(context, caller, session_id)) as push:
        await _pass_on(context, caller, session_id, push, request.stream())
    return session_answer(await context.store.get_session(session_id))


@router.websocket("/v1/sessions/{session_id}/stream")
async def push_messages(websocket: WebSocket, context: SharedContext, caller: SessionsWriter, session_id: str) -> None:
    """See the PUT of this path."""
    async with aclosing(await _reach(context, caller, session_id)) as push:
        await websocket.accept()
        try:
            await _pass_on(context, caller, session_id, push, _messages(websocket))
        except WebSocketDisconnect:
            return
        except ServiceError as error:
            with suppress(WebSocketDisconnect):
                await websocket.close(_CLOSE_CODES.get(type(error), TRY_AGAIN_LATER), error.detail)


async def _reach(context: Context, caller: Caller, session_id: str) -> Push:
    """Raises NotAPush, PushEnded, PushConflict when another stream is under way, NotReady when no worker is free."""
    record = await context.store.get_session(session_id, owner=caller.owner)
    if record.source.kind != "push":
        raise NotAPush('Only a session that was submitted with the source {"push": true} takes a stream.')

    async def find_worker() -> PushAddress | None:
        _check_going((await context.store.get_session(session_id)).state)
        worker = await context.store.worker_of(session_id)
        return None if worker is None else worker.push

    try:
        return await open_push(session_id, find_worker, REACH_WITHIN_S)
    except NotWaiting:
        if (await context.store.get_session(session_id)).state == "running":
            raise PushConflict("Another stream is being pushed to this session; end that one first.") from None
        raise NotReady("No worker is free for this session yet; push again soon.", retry_after_s=2) from None


async def _pass_on(
    context: Context, caller: Caller, session_id: str, push: Push, chunks: AsyncGenerator[bytes, None]
) -> None:
    """Raises PushEnded, NotReady when another stream may follow, Unauthorized, and what `chunks` raises."""
    counted = _counted(while_valid(chunks, context, caller), context)
    with context.feed.subscribe(session_id) as subscription:
        try:
            await first_of(push.send_all(counted), _until_server_stops(subscription))
        except WorkerClosed:
            await _raise_why_closed(context, session_id)
        except FeedClosed:
            raise NotReady(PUSH_AGAIN, retry_after_s=2) from None
        except KeyRevoked:
            raise Unauthorized("This API key was revoked; create one with `cake keys create`.") from None


async def _counted(chunks: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        context.metrics.upload_bytes.inc(len(chunk))
        yield chunk


async def _messages(websocket: WebSocket) -> AsyncGenerator[bytes, None]:
    """Ends with the video. Raises WebSocketDisconnect when the client went away before, UnsupportedMediaType."""
    while (message := await websocket.receive())["type"] != "websocket.disconnect":
        if message.get("bytes") is None:
            raise UnsupportedMediaType("Send the video in binary messages.")
        yield message["bytes"]
    if message["code"] != NORMAL:
        raise WebSocketDisconnect(message["code"])


async def _until_server_stops(subscription: Subscription) -> None:
    """Raises FeedClosed."""
    while True:
        await subscription.take(60.0)


async def _raise_why_closed(context: Context, session_id: str) -> NoReturn:
    """Raises PushEnded when the session has ended, NotReady when it takes another stream."""
    with context.feed.subscribe(session_id) as subscription, suppress(FeedClosed):
        if (await context.store.get_session(session_id)).state not in ENDED_STATES:
            await subscription.take(TOLD_WITHIN_S)
    _check_going((await context.store.get_session(session_id)).state)
    raise NotReady(PUSH_AGAIN, retry_after_s=1)


def _check_going(state: SessionState) -> None:
    """Raises PushEnded."""
    if state in ENDED_STATES:
        raise PushEnded(f"The session has ended: it is {state}. Submit another one for another stream.")
