"""What a decoder child and its parent say to each other.

The parent writes one line of JSON, a `DecodeRequest`. The child answers with messages, each of them
`kind: 1 byte, length: uint32, payload`, little-endian. Of a live source the parent asks for each frame with one byte;
with others it says when somebody begins to look at the pictures, and when nobody does any more.
"""

import json
import struct
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import BinaryIO, Literal

HEADER = struct.Struct("<cI")
# Media time, unix time of arrival, seconds of decoding, whether its timestamp had nothing to do with those before.
FRAME_HEADER = struct.Struct("<ddf?")
OPENED, FRAME, DROPPED, SNAPSHOT, ALIVE, ENDED, ERROR = b"O", b"F", b"D", b"J", b"K", b"E", b"X"
ASK, LOOK, LOOK_AWAY = b".", b"w", b"u"

ALIVE_EVERY_S = 1.0


@dataclass(frozen=True)
class DecodeRequest:
    """What to decode, and how. `after_s` is the media time of the last frame that the detector has seen already.

    `snapshot_hz`: pictures for people, while somebody looks.
    Up to `told_s`, frames are not paced: what they show was told before.

    A decoder may use `max_bytes` of address space and `max_cpu_s` of processor time before it is ended.
    `zero_s`: the moment, on the monotonic clock, that is media time 0 of a live source; its first picture if None.
    A source that is not live and is longer than `max_duration_s` fails.
    `starts_at_s`: media time of the first picture of a source that is not live.
    The parent's side puts in its own `parent_pid`, for an address the `channel_fd` by which the child makes
    connections, and for a pushed stream, which has no address, the `pushed_fd` by which it comes.
    """

    address: str | None = field(repr=False)
    options: Mapping[str, str] = field(repr=False)
    sample_hz: float
    size: int
    pace: Literal["fast", "realtime"]
    after_s: float | None
    snapshot_hz: float
    timeout_s: float
    told_s: float | None = None
    max_bytes: int = 2 * 1024**3
    max_cpu_s: int = 6 * 3600
    max_duration_s: float = 24 * 3600.0
    zero_s: float | None = None
    parent_pid: int = 0
    channel_fd: int | None = None
    starts_at_s: float = 0.0
    pushed_fd: int | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self) | {"options": dict(self.options)})


class Output:
    """Messages to the parent."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self.sent_at_s = time.monotonic()

    def send(self, kind: bytes, *payload: bytes | memoryview) -> None:
        self._pipe.write(HEADER.pack(kind, sum(memoryview(part).nbytes for part in payload)))
        for part in payload:
            self._pipe.write(part)
        self._pipe.flush()
        self.sent_at_s = time.monotonic()

    def tell_alive(self, now_s: float) -> None:
        """A sign of life, when nothing else was sent for a while."""
        if now_s - self.sent_at_s >= ALIVE_EVERY_S:
            self.send(ALIVE)

    def send_json(self, kind: bytes, value: object) -> None:
        self.send(kind, json.dumps(value).encode())
