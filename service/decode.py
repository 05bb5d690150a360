"""The decoder child process of one session: a source in, small RGB frames out over a pipe.

It holds no torch, no asyncio, no pydantic: tens of these run beside each other. On a file the pipe's back-pressure
slows it down to the detector's speed; a live source is never held up.
"""

import ctypes
import json
import os
import signal
import socket
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from model.container import MAX_RATE_HZ, is_url
from model.video import Video, VideoError, open_video
from service.confinement.confine import limit_resources, restrict_network, restrict_reading
from service.confinement.syscall_filter import ConfinementUnavailable
from service.decode_input import Input
from service.decode_live import send_live
from service.decode_messages import (
    ALIVE,
    ALIVE_EVERY_S,
    ENDED,
    ERROR,
    FRAME,
    FRAME_HEADER,
    OPENED,
    SNAPSHOT,
    DecodeRequest,
    Output,
)
from service.decode_snapshots import SnapshotTimes
from service.push.pushed_video import PushedVideo

NOT_CONFINED = (
    "This server cannot hold its decoders to their sources: that takes Linux 5.14 with seccomp. Its log says more."
)
TOO_LONG = "The video is longer than {:.1f} h, which this server does not analyse at once. Cut it, and send the parts."
TOO_MANY = "The video has more than {:.0f} pictures a second. Send it with fewer."
# A burst of pictures at one moment is no rate yet.
RATE_OVER_S = 10.0
PR_SET_PDEATHSIG = 1
# Detectors go first: what they do is short, and other sessions wait for it.
NICENESS = {"realtime": 2, "fast": 5}


class _Bounds:
    """How long a source that is not live may be, and how many pictures it may have."""

    def __init__(self, request: DecodeRequest) -> None:
        self._max_s = request.max_duration_s - request.starts_at_s
        self._pictures = 0

    def check(self, pts_s: float) -> None:
        """Of a length or of a picture's time. Raises VideoError limit_exceeded."""
        if pts_s > self._max_s:
            raise VideoError("limit_exceeded", TOO_LONG.format(self._max_s / 3600))

    def count(self, pts_s: float) -> None:
        """Another picture. Raises VideoError limit_exceeded."""
        self.check(pts_s)
        self._pictures += 1
        if self._pictures > MAX_RATE_HZ * (pts_s + RATE_OVER_S):
            raise VideoError("limit_exceeded", TOO_MANY.format(MAX_RATE_HZ))


class _Pace:
    """When each picture arrives: as soon as it is decoded, or, in real time, when a camera would have sent it."""

    def __init__(self, request: DecodeRequest, output: Output) -> None:
        self._realtime = request.pace == "realtime"
        self._told_s = -1.0 if request.told_s is None else request.told_s
        self._output = output
        self._zero_s: float | None = None
        self.arrived_unix_s = self.late_s = 0.0
        self.waited_s = 0.0

    def wait(self, pts_s: float) -> None:
        """Return when the picture at `pts_s` is due. Tells the parent meanwhile that all is well."""
        now_s = time.monotonic()
        if self._realtime and pts_s > self._told_s:
            self._zero_s = now_s - pts_s if self._zero_s is None else self._zero_s
            due_s = self._zero_s + pts_s
            started_s = now_s
            while due_s > now_s:
                self._output.tell_alive(now_s)
                time.sleep(min(due_s - now_s, ALIVE_EVERY_S))
                now_s = time.monotonic()
            self.waited_s += now_s - started_s
            self.late_s = now_s - due_s
        self._output.tell_alive(now_s)
        self.arrived_unix_s = time.time() - self.late_s


def run(request: DecodeRequest, heard: Input, pipe: BinaryIO) -> None:
    """Confine this process, decode the source and write all messages; the last one is ENDED or ERROR."""
    output = Output(pipe)
    output.send(ALIVE)
    try:
        _confine(request)
        with _open(request) as video:
            output.send_json(OPENED, asdict(video.info))
            if video.info.live:
                send_live(request, video, heard, output)
            else:
                _send_frames(request, video, heard, output)
            output.send_json(ENDED, {"warnings": video.warnings})
    except VideoError as error:
        output.send_json(ERROR, {"code": error.code, "detail": error.detail})
    except BrokenPipeError:
        raise
    except ConfinementUnavailable:
        output.send_json(ERROR, {"code": "internal", "detail": NOT_CONFINED, "traceback": traceback.format_exc()})
    except Exception:
        # The parent logs it and fails the session: this process has no log of its own.
        detail = "The decoder failed in an unexpected way. Please report it with the server's log."
        output.send_json(ERROR, {"code": "internal", "detail": detail, "traceback": traceback.format_exc()})
        raise


def _open(request: DecodeRequest) -> Video:
    if request.pushed_fd is None:
        assert request.address is not None
        return open_video(request.address, options=request.options, timeout_s=request.timeout_s)
    pushed = PushedVideo(socket.socket(fileno=request.pushed_fd), request.timeout_s)
    return open_video(pushed, timeout_s=request.timeout_s, live=request.pace == "realtime")


def _send_frames(request: DecodeRequest, video: Video, heard: Input, output: Output) -> None:
    pace, bounds = _Pace(request, output), _Bounds(request)
    bounds.check(video.info.duration_s or 0.0)
    snapshots = SnapshotTimes(request.snapshot_hz)
    began_s = time.monotonic()

    def on_picture(pts_s: float, is_taken: bool) -> None:
        bounds.count(pts_s)
        if is_taken:
            pace.wait(pts_s)
        else:
            output.tell_alive(time.monotonic())

    frames = video.frames(request.sample_hz, request.size, request.after_s, on_picture)
    for frame in frames:
        decode_s = time.monotonic() - began_s - pace.waited_s
        output.send(
            FRAME,
            FRAME_HEADER.pack(request.starts_at_s + frame.pts_s, pace.arrived_unix_s, decode_s, False),
            frame.image.data,
        )
        heard.read()
        if snapshots.is_due(time.monotonic(), late_s=pace.late_s, is_watched=heard.is_watched):
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
    is_file = request.address is not None and not is_url(request.address)
    readable = [request.address if is_file else request.options.get("ca_file")]
    restrict_reading(Path(path) for path in readable if path is not None)
    restrict_network(request.channel_fd)


def main() -> None:
    """Entry of the child process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = DecodeRequest(**json.loads(sys.stdin.readline()))
    _die_with_parent(request.parent_pid)
    os.nice(NICENESS[request.pace])
    # Nothing but messages may reach the pipe: what a library prints to stdout goes where stderr goes.
    pipe_fd = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(pipe_fd, "wb") as pipe:
        run(request, Input(sys.stdin.fileno()), pipe)


if __name__ == "__main__":
    main()
