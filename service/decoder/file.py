"""The decoder child's side of a source that can be paused: a file, or a stream that its sender may slow down.

The pipe's back-pressure slows decoding down to the detector's speed.
"""

import math
import time

from model.video.errors import VideoError
from model.video.file_reader import FileReader
from model.video.stream import MAX_RATE_HZ
from service.decoder.clips import Clips
from service.decoder.pace import Pace
from service.decoder.protocol import FRAME, FRAME_COUNT, FRAME_HEADER, SNAPSHOT, DecodeRequest, Input, Output
from service.decoder.snapshot_schedule import SnapshotSchedule

TOO_LONG = "The video is longer than {:.1f} h, the limit of this server. Cut it and submit the parts."
TOO_MANY = "The video has more than {:.0f} frames per second. Submit it with fewer."
# A short burst of frames says little about the rate.
RATE_OVER_S = 10.0


class _Bounds:
    """The limits of a source's length and of its number of frames."""

    def __init__(self, request: DecodeRequest) -> None:
        self._max_s = request.max_duration_s - request.starts_at_s
        self._frames = 0

    def count(self, pts_s: float) -> None:
        """Count another frame. Raises VideoError limit_exceeded.

        Durations in headers are not checked: they may be wrong.
        """
        if pts_s > self._max_s:
            raise VideoError("limit_exceeded", TOO_LONG.format(self._max_s / 3600))
        self._frames += 1
        if self._frames > MAX_RATE_HZ * (pts_s + RATE_OVER_S):
            raise VideoError("limit_exceeded", TOO_MANY.format(MAX_RATE_HZ))


def send_file(request: DecodeRequest, video: FileReader, input_: Input, output: Output, clips: Clips) -> list[str]:
    """Send all frames of the source. Returns warnings about it. Raises VideoError."""
    bounds = _Bounds(request)
    pace = Pace(
        realtime=request.pace == "realtime", replay_until_s=request.replay_until_s, send_alive=output.send_alive
    )
    snapshots = SnapshotSchedule(request.snapshot_hz)
    began_s, arrived_unix_s = time.monotonic(), 0.0

    def on_frame(pts_s: float, is_taken: bool) -> None:
        nonlocal arrived_unix_s
        bounds.count(pts_s)
        if is_taken:
            pace.wait(pts_s)
            arrived_unix_s = time.time() - pace.late_s
        else:
            output.send_alive(time.monotonic())

    for frame in video.frames(request.sample_hz, request.frame_inputs, request.after_s, on_frame):
        decode_s = time.monotonic() - began_s - pace.waited_s
        output.send(
            FRAME,
            FRAME_COUNT.pack(1),
            FRAME_HEADER.pack(request.starts_at_s + frame.pts_s, arrived_unix_s, math.nan, decode_s, False),
            *(image.data for image in frame.images),
        )
        input_.read()
        clips.begin_ordered(input_)
        if snapshots.is_due(time.monotonic(), late_s=pace.late_s, is_watched=input_.is_watched):
            output.send(SNAPSHOT, video.snapshot_jpeg())
        began_s, pace.waited_s = time.monotonic(), 0.0
    return video.warnings + video.notes
