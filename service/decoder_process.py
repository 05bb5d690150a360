"""The parent's side of a decoder: starts the child, reads its messages, and always kills and reaps it."""

import asyncio
import fcntl
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import structlog
from numpy.typing import NDArray

from model.container import VideoError, VideoInfo, is_url
from service import decode_messages as kinds
from service.confinement.address_policy import PUBLIC_ONLY, AddressPolicy
from service.confinement.broker import ConnectionBroker
from service.decode_messages import DecodeRequest
from service.sources import FORBIDDEN_ADDRESS, SourceForbidden

# Room for a few frames, so that decoding and detection overlap.
PIPE_BYTES = 256 * 1024
# What the parent holds beyond the pipe; a full buffer pauses reading, the full pipe then pauses the child.
BUFFER_BYTES = 256 * 1024
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
# From the start of the process to its first sign of life; on a machine that is too busy this takes a while.
START_WITHIN_S = 60.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class DecodedFrame:
    """A frame for the detector: RGB uint8 (size, size, 3), its media time, when it arrived, and what decoding cost.

    `is_new_timeline`: a live source's timestamp that had nothing to do with those before.
    """

    image: NDArray[np.uint8]
    pts_s: float
    arrived_unix_s: float
    decode_s: float
    is_new_timeline: bool = False


@dataclass(frozen=True)
class Dropped:
    """How many frames of a live source were left out since the last message of this kind, by reason."""

    frames: dict[str, int]


@dataclass(frozen=True)
class Snapshot:
    """A JPEG of the whole picture, for people."""

    jpeg: bytes


@dataclass(frozen=True)
class Ended:
    """The source is over; `warnings` are sentences about what was wrong with it."""

    warnings: tuple[str, ...]


class DecoderDied(Exception):
    """The child ended without saying why: killed, crashed, or out of memory."""


@asynccontextmanager
async def start_decoder(
    request: DecodeRequest, policy: AddressPolicy = PUBLIC_ONLY, pushed: socket.socket | None = None
) -> AsyncIterator["Decoder"]:
    """A decoder child for as long as the context lasts; leaving it kills and reaps the child, also on cancellation.

    It reaches the addresses that `policy` permits; none at all for a file, or for a stream that is `pushed`: that
    connection is the child's from now on.
    """
    async with _pipe() as (messages, pipe):
        with pipe, pushed or nullcontext(), _connections(request, policy) as (broker, channel_fd):
            pushed_fd = None if pushed is None else pushed.fileno()
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "service.decode",
                stdin=PIPE,
                stdout=pipe,
                stderr=DEVNULL,
                env=_environment(),
                pass_fds=[fd for fd in (channel_fd, pushed_fd) if fd is not None],
            )
        asked = replace(request, parent_pid=os.getpid(), channel_fd=channel_fd, pushed_fd=pushed_fd)
        assert process.stdin is not None
        decoder = Decoder(process, process.stdin, messages, request, broker)
        try:
            _tell(process.stdin, asked.to_json().encode() + b"\n")
            yield decoder
        finally:
            decoder.kill()
            process.stdin.close()
            await process.wait()
            if broker is not None:
                await asyncio.to_thread(broker.join)


@asynccontextmanager
async def _pipe() -> AsyncIterator[tuple[asyncio.StreamReader, BinaryIO]]:
    """What a child writes, and the end that it writes to. Not asyncio's own: uvloop would take a socket, which holds
    other amounts and costs more.
    """
    reading_fd, writing_fd = os.pipe()
    with suppress(PermissionError):  # the user's share of pipes is used up: a small one does, too
        fcntl.fcntl(writing_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    with os.fdopen(writing_fd, "wb") as writing:
        messages = asyncio.StreamReader(limit=BUFFER_BYTES)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(messages), os.fdopen(reading_fd, "rb", buffering=0)
        )
        try:
            yield messages, writing
        finally:
            transport.close()


@contextmanager
def _connections(request: DecodeRequest, policy: AddressPolicy) -> Iterator[tuple[ConnectionBroker | None, int | None]]:
    """Who makes the connections of a decoder that needs some, and the number of its channel to them.

    The decoder's end of the channel is open here until the decoder has been started.
    """
    if request.address is None or not is_url(request.address):
        yield None, None
        return
    ours, its = socket.socketpair()
    with its:
        broker = ConnectionBroker(policy, ours)
        broker.start()
        yield broker, its.fileno()


class Decoder:
    """A running decoder child; made by `start_decoder`."""

    def __init__(
        self,
        process: Process,
        stdin: asyncio.StreamWriter,
        messages: asyncio.StreamReader,
        request: DecodeRequest,
        broker: ConnectionBroker | None,
    ) -> None:
        self._process = process
        self._stdin = stdin
        self._messages = messages
        self._broker = broker
        self._size = request.size
        self._is_live = self._has_asked = self._is_watched = False
        # Opening takes one deadline to connect and one to probe; afterwards the child gives a sign of life each second.
        self._silence_s = 2 * request.timeout_s + 5

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """End the child now; `messages` then raises DecoderDied. Idempotent."""
        if self._process.returncode is None:
            # Not Process.kill: that would reap a child that has just died behind asyncio's back.
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    async def messages(
        self, is_watched: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[VideoInfo | DecodedFrame | Dropped | Snapshot | Ended]:
        """First a VideoInfo, then frames and snapshots, then Ended; another VideoInfo when the pictures change.

        Of a live source, each time the newest frame; of a file all of them. While somebody looks there are many
        snapshots; `is_watched` is asked again and again.

        Raises VideoError when the source fails or the child falls silent, SourceForbidden when it failed because it led
        to an address that is not permitted, DecoderDied when the child ends without a word.
        """
        try:
            await self._read(START_WITHIN_S)
        except TimeoutError:
            raise DecoderDied(f"The decoder did not start within {START_WITHIN_S:.0f} s.") from None
        while True:
            self._ask(is_watched())
            try:
                kind, payload = await self._read(self._silence_s)
            except TimeoutError:
                detail = f"The source gave nothing for {self._silence_s:.0f} s. Check that it is up and reachable."
                raise VideoError("source_timeout", detail) from None
            if kind == kinds.FRAME:
                self._has_asked = False
                yield self._frame(payload)
            elif kind == kinds.SNAPSHOT:
                yield Snapshot(payload)
            elif kind == kinds.DROPPED:
                yield Dropped(json.loads(payload))
            elif kind == kinds.OPENED:
                info = VideoInfo(**json.loads(payload))
                self._is_live = info.live
                yield info
            elif kind == kinds.ENDED:
                yield Ended(tuple(json.loads(payload)["warnings"]))
                return
            elif kind == kinds.ERROR:
                self._raise_if_refused()
                raise _video_error(json.loads(payload))
            elif kind != kinds.ALIVE:
                raise DecoderDied(f"The decoder sent a message of unknown kind {kind!r}.")

    def _ask(self, is_watched: bool) -> None:
        """Tell the decoder what has changed: whether somebody looks, and of a live source that a frame is wanted."""
        if is_watched != self._is_watched:
            _tell(self._stdin, kinds.LOOK if is_watched else kinds.LOOK_AWAY)
            self._is_watched = is_watched
        if self._is_live and not self._has_asked:
            _tell(self._stdin, kinds.ASK)
            self._has_asked = True

    def _raise_if_refused(self) -> None:
        if self._broker is not None and self._broker.refused:
            # For the operator alone: callers could learn what names mean inside this network.
            _log.warning("source led to addresses that are not permitted", addresses=self._broker.refused)
            raise SourceForbidden(FORBIDDEN_ADDRESS)

    async def _read(self, within_s: float) -> tuple[bytes, bytes]:
        try:
            async with asyncio.timeout(within_s):
                kind, length = kinds.HEADER.unpack(await self._messages.readexactly(kinds.HEADER.size))
                if length > MAX_MESSAGE_BYTES:
                    raise DecoderDied(f"The decoder announced a message of {length} bytes.")
                return kind, await self._messages.readexactly(length)
        except asyncio.IncompleteReadError:
            raise DecoderDied("The decoder ended without a word.") from None

    def _frame(self, payload: bytes) -> DecodedFrame:
        pts_s, arrived_unix_s, decode_s, is_new_timeline = kinds.FRAME_HEADER.unpack_from(payload)
        pixels = np.frombuffer(payload, np.uint8, offset=kinds.FRAME_HEADER.size)
        image = pixels.reshape(self._size, self._size, 3)
        return DecodedFrame(image, pts_s, arrived_unix_s, decode_s, is_new_timeline)


def _tell(stdin: asyncio.StreamWriter, said: bytes) -> None:
    """Whoever reads from the child notices that it has died; asyncio would say nothing here, but uvloop raises."""
    if not stdin.is_closing():
        stdin.write(said)


def _video_error(message: dict[str, Any]) -> VideoError:
    if "traceback" in message:
        _log.error("decoder failed", traceback=message["traceback"])
    return VideoError(message["code"], message["detail"])


def _environment() -> dict[str, str]:
    """All that the child gets to see: the way to this package, and settings that keep it small."""
    return {"PYTHONPATH": str(Path(__file__).parents[1]), "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
