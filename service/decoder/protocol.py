"""The protocol between a decoder child and its parent.

The parent writes one line of JSON, a `DecodeRequest`. The child replies with messages, each of them
`kind: 1 byte, length: uint32, payload`, little-endian. For a live source, the parent requests each frame with one byte,
and says when it wants live video and when it no longer does. For every source, it says when clients start and stop
watching the snapshots, and it orders clips. When its source has ended, a child that takes orders asks for the last
ones, since frames may still be on their way to the detector.
"""

import fcntl
import json
import os
import select
import struct
import termios
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import BinaryIO, Literal, NamedTuple, Self

from model.video.media_time import TimeZero
from model.video.preprocess import WHOLE_FRAME, FrameInput, Framing, Region

HEADER = struct.Struct("<cI")
# Media time, Unix time of arrival, the timestamp of a live source or NaN, seconds of decoding, whether a new timeline
# begins. A message holds the number of frames, their headers, and the images of the last one, or nothing if they are
# those of the frame before. Frames that precede another one in a message always show the images of the frame before.
FRAME_HEADER = struct.Struct("<dddf?")
FRAME_COUNT = struct.Struct("<B")
CONFINED, OPENED, FRAME, DROPPED, SNAPSHOT, ALIVE, ENDED, ERROR = b"C", b"O", b"F", b"D", b"J", b"K", b"E", b"X"
MISSED = b"M"
CLIP_BEGINS, CLIP_DATA, CLIP_ENDED, LAST_ORDERS = b"B", b"V", b"Z", b"L"
VIDEO_BEGINS, VIDEO_PART, NO_VIDEO = b"H", b"P", b"N"
REQUEST_FRAME, WATCH, UNWATCH, ORDER_CLIP, NO_MORE_ORDERS = b".", b"w", b"u", b"c", b"n"
WANT_VIDEO, WANT_NO_VIDEO = b"v", b"x"
# Precedes a part of live video: its time in the MP4, its media time, whether it begins with a keyframe.
VIDEO_PART_HEADER = struct.Struct("<dd?")
# Precedes the bytes of a clip.
CLIP_NUMBER = struct.Struct("<I")
_CLIP_ORDER = struct.Struct("<Idd")

ALIVE_EVERY_S = 1.0


@dataclass(frozen=True)
class Confinement:
    """Which kernel mechanisms confine a decoder: one for system calls and network, one for the files that it reads."""

    seccomp: bool
    landlock: bool


class ClipOrder(NamedTuple):
    """A clip that the parent wants: its number, and its start and end in media time."""

    number: int
    from_s: float
    to_s: float

    def to_bytes(self) -> bytes:
        """What the parent writes."""
        return ORDER_CLIP + _CLIP_ORDER.pack(*self)


@dataclass(frozen=True)
class DecodeRequest:
    """What to decode, and how.

    Args:
        address: path or URL of the source, with its secrets; None for a pushed stream.
        options: options of FFmpeg for it.
        after_s: media time of the last frame that the detector has seen.
        replay_until_s: frames up to this media time are not paced, because their events are already published.
        snapshot_hz: snapshots per second while a client is watching.
        max_bytes: address space that the decoder may use before it is killed.
        max_cpu_s: processor time that the decoder may use before it is killed.
        max_duration_s: a source that is not live and is longer than this fails.
        regions: parts of the displayed frame; each becomes a separate image.
        zero_s: the time on the monotonic clock that is media time 0 of a live source; its first frame if None.
        starts_at_s: media time at which a pushed stream that is not live is placed.
        time_zero: what media time 0 of a file refers to.
        keyframe_timeout_s: how long a live source may send packets before the first keyframe.
        live: whether a source over HTTP is live; determined from the response by default.
        was_live: an earlier connection of the session was live.
        seen_until_s: timestamp of the newest frame of that connection.
        stream: number of the video stream to analyse, from 0; the best one if None.
        clip_buffer_s: how many seconds of the stream to keep for clips; 0 for none.
        clip_buffer_bytes: the most that is kept.
        quiet: whether frames of a live source need not be decoded while nothing moves.
        parent_pid: set by the parent's side.
        channel_fd: set by the parent's side for a URL: the channel through which the child gets its connections.
        pushed_fd: set by the parent's side for a pushed stream: the connection that it arrives on.
    """

    address: str | None = field(repr=False)
    options: Mapping[str, str] = field(repr=False)
    sample_hz: float
    size: int
    pace: Literal["fast", "realtime"]
    after_s: float | None
    snapshot_hz: float
    timeout_s: float
    framing: Framing = "centre_crop"
    regions: tuple[Region, ...] = (WHOLE_FRAME,)
    replay_until_s: float | None = None
    max_bytes: int = 2 * 1024**3
    max_cpu_s: int = 6 * 3600
    max_duration_s: float = 24 * 3600.0
    zero_s: float | None = None
    parent_pid: int = 0
    channel_fd: int | None = None
    starts_at_s: float = 0.0
    time_zero: TimeZero = "source_start"
    keyframe_timeout_s: float = 60.0
    live: bool | None = None
    was_live: bool = False
    seen_until_s: float | None = None
    stream: int | None = None
    pushed_fd: int | None = None
    clip_buffer_s: float = 0.0
    clip_buffer_bytes: int = 0
    quiet: bool = False

    @property
    def frame_inputs(self) -> tuple[FrameInput, ...]:
        """The parts of a frame that the detector sees."""
        return tuple(FrameInput(self.size, self.framing, region) for region in self.regions)

    def to_json(self) -> str:
        """The line that the parent writes."""
        return json.dumps(asdict(self) | {"options": dict(self.options)})

    @classmethod
    def from_json(cls, line: str) -> Self:
        """The request in the parent's line."""
        fields = json.loads(line)
        fields["regions"] = tuple(Region(**region) for region in fields["regions"])
        return cls(**fields)


class Output:
    """The child's messages to the parent."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self.sent_at_s = time.monotonic()

    def send(self, kind: bytes, *payload: bytes | memoryview) -> None:
        """Write one message; waits while the pipe is full."""
        self._pipe.write(HEADER.pack(kind, sum(memoryview(part).nbytes for part in payload)))
        for part in payload:
            self._pipe.write(part)
        self._pipe.flush()
        self.sent_at_s = time.monotonic()

    def send_alive(self, now_s: float) -> None:
        """Send a heartbeat if nothing else has been sent for a while."""
        if now_s - self.sent_at_s >= ALIVE_EVERY_S:
            self.send(ALIVE)

    @property
    def unread_bytes(self) -> int:
        """The number of bytes that wait in the pipe."""
        return int.from_bytes(fcntl.ioctl(self._pipe, termios.FIONREAD, bytes(4)), "little")

    def send_json(self, kind: bytes, value: object) -> None:
        """Write one message whose payload is JSON."""
        self.send(kind, json.dumps(value).encode())


class Input:
    """The parent's bytes to the child, read from `fd` without waiting."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._received = b""
        self.frame_requested = False
        """Whether the parent waits for the next frame of a live source; the sender of that frame resets it."""
        self.is_watched = False
        """Whether a client is watching the snapshots."""
        self.wants_video = False
        """Whether the parent wants live video."""
        self.ordered: list[ClipOrder] = []
        """Clips that the parent has ordered; their sender removes them."""
        self.has_more_orders = True
        """Whether the parent may order clips."""

    def wait(self, duration_s: float) -> None:
        """Wait until something arrives, and process it."""
        if select.select([self._fd], [], [], duration_s)[0]:
            self.read()

    def read(self) -> None:
        """Process what has arrived since the last call."""
        try:
            received = os.read(self._fd, 4096)
        except BlockingIOError:
            return
        if not received:  # the parent has closed its end
            self.has_more_orders = False
        self._received += received
        while self._received:
            kind, rest = self._received[:1], self._received[1:]
            if kind == ORDER_CLIP:
                if len(rest) < _CLIP_ORDER.size:
                    return
                self.ordered.append(ClipOrder(*_CLIP_ORDER.unpack_from(rest)))
                rest = rest[_CLIP_ORDER.size :]
            self.has_more_orders &= kind != NO_MORE_ORDERS
            self.frame_requested |= kind == REQUEST_FRAME
            self.is_watched = kind == WATCH or (self.is_watched and kind != UNWATCH)
            self.wants_video = kind == WANT_VIDEO or (self.wants_video and kind != WANT_NO_VIDEO)
            self._received = rest
