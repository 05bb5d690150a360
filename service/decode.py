"""The decoder child process of one session: a source in, small RGB frames out over a pipe.

It reads one line of JSON (`DecodeRequest`) from stdin and writes messages to stdout, each of them
`kind: 1 byte, length: uint32, payload`, little-endian. It holds no torch, no asyncio, no pydantic: tens of these run
beside each other. The pipe's back-pressure is what slows it down to the detector's speed.
"""

import ctypes
import fcntl
import json
import os
import signal
import struct
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from model.container import is_url
from model.video import Video, VideoError, open_video
from service.confinement.confine import limit_resources, restrict_network, restrict_reading

HEADER = struct.Struct("<cI")
FRAME_HEADER = struct.Struct("<ddf")
OPENED, FRAME, SNAPSHOT, ALIVE, ENDED, ERROR = b"O", b"F", b"J", b"K", b"E", b"X"

ALIVE_EVERY_S = 1.0
# Room for a few frames, so that decoding and detection overlap.
PIPE_BYTES = 256 * 1024
PR_SET_PDEATHSIG = 1
FAST_NICENESS = 5


@dataclass(frozen=True)
class DecodeRequest:
    """What to decode, and how. `after_s` is the media time of the last frame that was analysed already.

    A decoder may use `max_bytes` of address space and `max_cpu_s` of processor time before it is ended.
    The parent's side puts in its own `parent_pid`, and for an address the `channel_fd` by which it makes connections.
    """

    address: str = field(repr=False)
    options: Mapping[str, str] = field(repr=False)
    sample_hz: float
    size: int
    pace: Literal["fast", "realtime"]
    after_s: float | None
    snapshot_hz: float
    timeout_s: float
    max_bytes: int = 2 * 1024**3
    max_cpu_s: int = 6 * 3600
    parent_pid: int = 0
    channel_fd: int | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self) | {"options": dict(self.options)})


class _Output:
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

    def send_json(self, kind: bytes, value: object) -> None:
        self.send(kind, json.dumps(value).encode())


class _Pace:
    """When each picture arrives: as soon as it is decoded, or, in real time, when a camera would have sent it."""

    def __init__(self, request: DecodeRequest, output: _Output) -> None:
        self._realtime = request.pace == "realtime"
        self._after_s = -1.0 if request.after_s is None else request.after_s
        self._output = output
        self._zero_s: float | None = None
        self.arrived_unix_s = 0.0
        self.waited_s = 0.0

    def wait(self, pts_s: float) -> None:
        """Return when the picture at `pts_s` is due. Tells the parent meanwhile that all is well."""
        now_s = time.monotonic()
        late_s = 0.0
        if self._realtime and pts_s > self._after_s:
            self._zero_s = now_s - pts_s if self._zero_s is None else self._zero_s
            due_s = self._zero_s + pts_s
            started_s = now_s
            while due_s > now_s:
                self._tell_alive(now_s)
                time.sleep(min(due_s - now_s, ALIVE_EVERY_S))
                now_s = time.monotonic()
            self.waited_s += now_s - started_s
            late_s = now_s - due_s
        self._tell_alive(now_s)
        self.arrived_unix_s = time.time() - late_s

    def _tell_alive(self, now_s: float) -> None:
        if now_s - self._output.sent_at_s >= ALIVE_EVERY_S:
            self._output.send(ALIVE)


def run(request: DecodeRequest, pipe: BinaryIO) -> None:
    """Decode the source and write all messages; the last one is ENDED or ERROR."""
    output = _Output(pipe)
    output.send(ALIVE)
    try:
        with open_video(request.address, options=request.options, timeout_s=request.timeout_s) as video:
            output.send_json(OPENED, asdict(video.info))
            _send_frames(request, video, output)
            output.send_json(ENDED, {"warnings": video.warnings})
    except VideoError as error:
        output.send_json(ERROR, {"code": error.code, "detail": error.detail})
    except BrokenPipeError:
        raise
    except Exception:
        # The parent logs it and fails the session: this process has no log of its own.
        detail = "The decoder failed in an unexpected way. Please report it with the server's log."
        output.send_json(ERROR, {"code": "internal", "detail": detail, "traceback": traceback.format_exc()})
        raise


def _send_frames(request: DecodeRequest, video: Video, output: _Output) -> None:
    pace = _Pace(request, output)
    snapshot_at_s = 0.0
    began_s = time.monotonic()
    frames = video.frames(request.sample_hz, request.size, request.after_s, pace.wait)
    for frame in frames:
        decode_s = time.monotonic() - began_s - pace.waited_s
        output.send(FRAME, FRAME_HEADER.pack(frame.pts_s, pace.arrived_unix_s, decode_s), frame.image.data)
        if request.snapshot_hz > 0 and time.monotonic() >= snapshot_at_s:
            snapshot_at_s = time.monotonic() + 1.0 / request.snapshot_hz
            output.send(SNAPSHOT, video.snapshot_jpeg())
        began_s, pace.waited_s = time.monotonic(), 0.0


def _die_with_parent(parent_pid: int) -> None:
    """Be killed when the parent dies, whatever this process is doing then."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        sys.exit(1)


def _confine(request: DecodeRequest) -> None:
    """Hold this process to its source, before a byte of it is read."""
    limit_resources(max_bytes=request.max_bytes, max_cpu_s=request.max_cpu_s)
    restrict_reading([] if is_url(request.address) else [Path(request.address)])
    restrict_network(request.channel_fd)


def main() -> None:
    """Entry of the child process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = DecodeRequest(**json.loads(sys.stdin.readline()))
    _die_with_parent(request.parent_pid)
    if request.pace == "fast":
        os.nice(FAST_NICENESS)
    # Nothing but messages may reach the pipe: what a library prints to stdout goes where stderr goes.
    pipe_fd = os.dup(1)
    os.dup2(2, 1)
    fcntl.fcntl(pipe_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    _confine(request)
    with os.fdopen(pipe_fd, "wb") as pipe:
        run(request, pipe)


if __name__ == "__main__":
    main()
