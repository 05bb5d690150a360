"""The decoder child's side of a live source: the newest frame wins.

The parent asks for each frame on stdin. Reading from the source never waits for it: a frame that is not
asked for in time is replaced by a newer one and counted. Where nothing is lost meanwhile, it rests between frames.
"""

import time
from dataclasses import asdict

from model.live import LiveTiming
from model.live_clock import LiveClock
from model.media_time import slot
from model.video import Frame, Video
from service import decode_messages as messages
from service.decode_input import Input
from service.decode_messages import DecodeRequest, Output
from service.decode_snapshots import SnapshotTimes


class _Newest:
    """The newest frame that the parent has not got."""

    def __init__(self, heard: Input, output: Output, timing: LiveTiming) -> None:
        self._heard = heard
        self._output = output
        self._timing = timing
        self._waiting: tuple[bytes, memoryview] | None = None

    def put(self, frame: Frame, decode_s: float) -> None:
        arrived_unix_s = time.time() - (time.monotonic() - self._timing.due_s)
        header = messages.FRAME_HEADER.pack(frame.pts_s, arrived_unix_s, decode_s, self._timing.is_new_timeline)
        if self._waiting is not None:
            self._timing.dropped["newer_frame"] += 1
        self._waiting = header, frame.image.data

    def send_if_asked(self) -> bool:
        """Whether a frame was sent."""
        if self._waiting is None:
            return False
        self._heard.read()
        if not self._heard.is_asked:
            return False
        if self._timing.dropped:
            self._output.send_json(messages.DROPPED, self._timing.dropped)
            self._timing.dropped.clear()
        self._output.send(messages.FRAME, *self._waiting)
        self._waiting, self._heard.is_asked = None, False
        return True


def send_live(request: DecodeRequest, video: Video, heard: Input, output: Output) -> None:
    """Send the frames of a live source until it ends, and OPENED again whenever its pictures change their size."""
    timing = LiveTiming(LiveClock(request.zero_s, request.after_s))
    newest = _Newest(heard, output, timing)
    sent_info, snapshots = video.info, SnapshotTimes(request.snapshot_hz)
    loses_nothing = request.options.get("rtsp_transport") == "tcp"

    def on_picture(_pts_s: float, _is_taken: bool) -> None:
        newest.send_if_asked()
        output.tell_alive(time.monotonic())

    began_s = time.thread_time()
    for frame in video.frames(request.sample_hz, request.size, on_picture=on_picture, timing=timing):
        if video.info != sent_info:
            sent_info = video.info
            output.send_json(messages.OPENED, asdict(sent_info))
        # Waiting for the source is no work.
        decode_s = time.thread_time() - began_s
        newest.put(frame, decode_s)
        if newest.send_if_asked():
            if snapshots.is_due(time.monotonic(), late_s=timing.late_s, is_watched=heard.is_watched):
                output.send(messages.SNAPSHOT, video.snapshot_jpeg())
            if loses_nothing:
                next_s = (slot(frame.pts_s, request.sample_hz) + 1) / request.sample_hz
                time.sleep(timing.rest_s(next_s, time.monotonic(), decode_s))
        began_s = time.thread_time()
