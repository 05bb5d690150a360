"""The parent's side of a decoder: starts the child, reads its messages, and always kills and reaps it."""

import asyncio
import json
import math
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from model.video.errors import VideoError
from model.video.info import VideoInfo
from model.video.source import is_url
from service.confinement.broker import ConnectionBroker
from service.decoder import protocol as kinds
from service.decoder.clip_messages import CLIP_KINDS, ClipEnded, ClipPart, clip_message
from service.decoder.fork_protocol import FIRST_FD
from service.decoder.fork_server import ForkedProcess, ForkServer, open_fork_server
from service.decoder.messages import DecoderDiedError, message_pipe, order_pipe, read_message
from service.decoder.protocol import ClipOrder, Confinement, DecodeRequest
from service.decoder.video_messages import VIDEO_KINDS, LiveVideoMessage, video_message
from service.sources.address_policy import PUBLIC_ONLY, AddressPolicy
from service.sources.sources import FORBIDDEN_ADDRESS, SourceForbiddenError

# From the start of the process to its first sign of life, which takes a while on a busy machine.
START_WITHIN_S = 60.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class DecodedFrame:
    """A frame for the detector: its media time, when it arrived, and how long decoding took.

    `images`: RGB uint8 (regions, size, size, 3), for each region of the request. `is_unchanged`: the images are those
    of the previous frame. `is_new_timeline`: the timestamps of a live source do not continue the previous ones.
    `timestamp_s`: the frame's own timestamp.
    """

    images: NDArray[np.uint8]
    pts_s: float
    arrived_unix_s: float
    decode_s: float
    is_new_timeline: bool = False
    timestamp_s: float | None = None
    is_unchanged: bool = False


@dataclass(frozen=True)
class FrameRun:
    """Successive frames of a live source, of which only the last one may show something new."""

    frames: tuple[DecodedFrame, ...]


@dataclass(frozen=True)
class Dropped:
    """How many frames of a live source were dropped since the last message of this kind, by reason."""

    frames: dict[str, int]


@dataclass(frozen=True)
class Missed:
    """How often motion in a live source was missed, since the last message of this kind."""

    count: int


@dataclass(frozen=True)
class Snapshot:
    """A JPEG of the whole frame, for people."""

    jpeg: bytes


@dataclass(frozen=True)
class Ended:
    """The source has ended; `warnings` are sentences about what was wrong with it.

    `is_final`: the source itself marks this as its end; a live source does not, unless it is a playlist.
    """

    warnings: tuple[str, ...]
    is_final: bool = True


Message = (
    VideoInfo | DecodedFrame | FrameRun | Dropped | Missed | Snapshot | ClipPart | ClipEnded | LiveVideoMessage | Ended
)


@asynccontextmanager
async def start_decoder(
    request: DecodeRequest,
    policy: AddressPolicy = PUBLIC_ONLY,
    pushed: socket.socket | None = None,
    *,
    forks: ForkServer | None = None,
) -> AsyncIterator["Decoder"]:
    """A decoder child for as long as the context lasts; leaving it kills and reaps the child, also on cancellation.

    It reaches only the addresses that `policy` permits, and none for a file or a pushed stream. `pushed` is the
    connection of a pushed stream; the child owns it from now on. Decoders that are forked by `forks` share memory.
    """
    async with open_fork_server(forks) as server, message_pipe() as (messages, pipe), order_pipe() as (orders, its):
        with pipe, its, pushed or nullcontext(), _connections(request, policy) as (broker, channel):
            inherited = [one.fileno() for one in (channel, pushed) if one is not None]
            process = await server.fork([its.fileno(), pipe.fileno(), *inherited])
        sent = replace(
            request,
            parent_pid=process.parent_pid,
            channel_fd=None if channel is None else FIRST_FD,
            pushed_fd=None if pushed is None else FIRST_FD + len(inherited) - 1,
        )
        try:
            _write(orders, sent.to_json().encode() + b"\n")
            yield Decoder(process, orders, messages, request, broker)
        finally:
            process.kill()
            await process.wait()
            if broker is not None:
                await asyncio.to_thread(broker.join)


@contextmanager
def _connections(
    request: DecodeRequest, policy: AddressPolicy
) -> Iterator[tuple[ConnectionBroker | None, socket.socket | None]]:
    """The broker that makes connections for a decoder that needs any, and the decoder's end of its channel.

    That end stays open here until the decoder has been started.
    """
    if request.address is None or not is_url(request.address):
        yield None, None
        return
    ours, its = socket.socketpair()
    with its:
        broker = ConnectionBroker(policy, ours)
        broker.start()
        yield broker, its


class Decoder:
    """A running decoder child; made by `start_decoder`."""

    def __init__(
        self,
        process: ForkedProcess,
        orders: asyncio.WriteTransport,
        messages: asyncio.StreamReader,
        request: DecodeRequest,
        broker: ConnectionBroker | None,
    ) -> None:
        self.confinement: Confinement | None = None
        """What confines the child; known before the first message."""
        self._process = process
        self._orders = orders
        self._messages = messages
        self._broker = broker
        self._images = np.zeros((len(request.regions), request.size, request.size, 3), np.uint8)
        self._is_live = self._frame_requested = self._is_watched = self._wants_video = False
        # Opening has one deadline to connect and one to probe; afterwards, the child gives a sign of life each second.
        self._silence_s = 2 * request.timeout_s + 5

    @property
    def pid(self) -> int:
        """Process id of the decoder."""
        return self._process.pid

    def kill(self) -> None:
        """End the child now; `messages` then raises DecoderDiedError. Idempotent."""
        self._process.kill()

    def order_clip(self, order: ClipOrder) -> None:
        """Request a clip, which arrives in parts; the decoder must have been started with a buffer."""
        _write(self._orders, order.to_bytes())

    async def messages(
        self, is_watched: Callable[[], bool] = lambda: False, wants_video: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[Message]:
        """Yields first a VideoInfo, then frames and snapshots, then Ended; another VideoInfo when the frame size
        changes.

        A live source yields its newest frame each time, a file yields all frames. Snapshots are frequent while
        `is_watched` returns True; a live source yields live video while `wants_video` does.

        Raises VideoError when the source fails or the child falls silent, SourceForbiddenError when it failed because
        it led to a forbidden address, DecoderDiedError when the child ends without a message.
        """
        try:
            await read_message(self._messages, START_WITHIN_S)
        except TimeoutError:
            raise DecoderDiedError(f"The decoder did not start within {START_WITHIN_S:.0f} s.") from None
        while True:
            self._notify_child(is_watched(), wants_video())
            try:
                kind, payload = await read_message(self._messages, self._silence_s)
            except TimeoutError:
                detail = f"The source sent no data for {self._silence_s:.0f} s. Check that it is on and reachable."
                raise VideoError("source_timeout", detail) from None
            if kind == kinds.FRAME:
                self._frame_requested = False
                frames = tuple(self._frames(payload))
                yield frames[0] if len(frames) == 1 else FrameRun(frames)
            elif kind == kinds.SNAPSHOT:
                yield Snapshot(payload)
            elif kind == kinds.LAST_ORDERS:
                # By now the caller has seen all frames.
                _write(self._orders, kinds.NO_MORE_ORDERS)
            elif kind in CLIP_KINDS:
                yield clip_message(kind, payload)
            elif kind in VIDEO_KINDS:
                yield video_message(kind, payload)
            elif kind == kinds.DROPPED:
                yield Dropped(json.loads(payload))
            elif kind == kinds.MISSED:
                yield Missed(json.loads(payload))
            elif kind == kinds.OPENED:
                info = VideoInfo(**json.loads(payload))
                self._is_live = info.live
                yield info
            elif kind == kinds.CONFINED:
                self.confinement = Confinement(**json.loads(payload))
            elif kind == kinds.ENDED:
                ended = json.loads(payload)
                yield Ended(tuple(ended["warnings"]), ended["is_final"])
                return
            elif kind == kinds.ERROR:
                self._raise_if_forbidden()
                raise _video_error(json.loads(payload))
            elif kind != kinds.ALIVE:
                raise DecoderDiedError(f"The decoder sent a message of unknown kind {kind!r}.")

    def _notify_child(self, is_watched: bool, wants_video: bool) -> None:
        """Send the child what has changed: whether a client is watching, and requests for frames of a live source."""
        if self._is_live and wants_video != self._wants_video:
            _write(self._orders, kinds.WANT_VIDEO if wants_video else kinds.WANT_NO_VIDEO)
            self._wants_video = wants_video
        if is_watched != self._is_watched:
            _write(self._orders, kinds.WATCH if is_watched else kinds.UNWATCH)
            self._is_watched = is_watched
        if self._is_live and not self._frame_requested:
            _write(self._orders, kinds.REQUEST_FRAME)
            self._frame_requested = True

    def _raise_if_forbidden(self) -> None:
        if self._broker is not None and self._broker.refused:
            # For the operator only: callers could learn what names resolve to inside this network.
            _log.warning("source led to addresses that are not permitted", addresses=self._broker.refused)
            raise SourceForbiddenError(FORBIDDEN_ADDRESS)

    def _frames(self, payload: bytes) -> Iterator[DecodedFrame]:
        """The frames of a message; only the last one may have new images."""
        (count,) = kinds.FRAME_COUNT.unpack_from(payload)
        end = kinds.FRAME_COUNT.size + count * kinds.FRAME_HEADER.size
        for number, header in enumerate(kinds.FRAME_HEADER.iter_unpack(payload[kinds.FRAME_COUNT.size : end]), start=1):
            pts_s, arrived_unix_s, timestamp_s, decode_s, is_new_timeline = header
            is_unchanged = number < count or end == len(payload)
            if not is_unchanged:
                self._images = np.frombuffer(payload, np.uint8, offset=end).reshape(self._images.shape)
            stated_s = None if math.isnan(timestamp_s) else timestamp_s
            yield DecodedFrame(self._images, pts_s, arrived_unix_s, decode_s, is_new_timeline, stated_s, is_unchanged)


def _write(orders: asyncio.WriteTransport, data: bytes) -> None:
    """Write unless the child has died, which its reader notices. asyncio would ignore the write, but uvloop raises."""
    if not orders.is_closing():
        orders.write(data)


def _video_error(message: dict[str, Any]) -> VideoError:
    if "traceback" in message:
        _log.error("decoder failed", traceback=message["traceback"])
    return VideoError(message["code"], message["detail"])
