"""The decoder child's side of a live source: the newest frame wins.

The parent requests each frame on stdin. Reading from the source never waits for that: a frame that is not requested in
time is replaced by a newer one, and counted. Where nothing can be lost, the child sleeps between frames.
"""

import time
from dataclasses import asdict

from model.video.info import VideoInfo
from model.video.live_clock import LiveClock
from model.video.live_reader import LiveReader
from model.video.live_timing import LiveTiming
from model.video.packets import PacketReader
from model.video.quiet_gate import QuietGate
from service.decoder import protocol as messages
from service.decoder.clips import Clips
from service.decoder.live_video import LiveVideo
from service.decoder.newest import NewestFrame
from service.decoder.protocol import DecodeRequest, Input, Output
from service.decoder.snapshot_schedule import SnapshotSchedule

HURRIED_S = 5.0
HURRIED = (
    "The stream arrived much faster than it was recorded, so most of its frames were not analysed. If it was live, a"
    " proxy buffered it: turn off request buffering there. Push a recording with the pace `fast`."
)


def send_live(request: DecodeRequest, packets: PacketReader, input_: Input, output: Output, clips: Clips) -> list[str]:
    """Send the frames of a live source until it ends, and return warnings.

    OPENED is sent with the first new frame, and again whenever its content changes, such as the size of the frames.
    """
    timing = LiveTiming(LiveClock(request.zero_s, request.after_s))
    gate = QuietGate() if request.quiet else None
    video = LiveReader(packets, timing, request.seen_until_s, gate=gate, is_watched=lambda: input_.is_watched)
    newest = NewestFrame(input_, output, timing)
    snapshots, shown = SnapshotSchedule(request.snapshot_hz), LiveVideo(packets, output)
    sent_info: VideoInfo | None = None
    opened_s = time.monotonic()
    first_timestamp_s: float | None = None
    misses = 0
    loses_nothing = request.options.get("rtsp_transport") == "tcp"

    def on_frame(_pts_s: float, is_taken: bool) -> None:
        if not is_taken:  # this frame replaces the one that waits
            newest.send_if_requested()
        output.send_alive(time.monotonic())

    began_s = time.thread_time()
    for frame in video.frames(request.sample_hz, request.frame_inputs, on_frame):
        if first_timestamp_s is None:
            first_timestamp_s = video.timestamp_s
        if gate is not None and gate.misses > misses:
            output.send_json(messages.MISSED, gate.misses - misses)
            misses = gate.misses
        if (info := video.info) != sent_info:
            sent_info = info
            output.send_json(messages.OPENED, asdict(sent_info))
        # Only the time of this thread: waiting for the source is not decoding.
        decode_s = time.thread_time() - began_s
        newest.put(frame, video.timestamp_s, decode_s)
        if newest.send_if_requested():
            clips.begin_ordered(input_)
            shown.follow_orders(input_)
            if snapshots.is_due(time.monotonic(), late_s=timing.late_s, is_watched=input_.is_watched):
                output.send(messages.SNAPSHOT, video.snapshot_jpeg())
            if loses_nothing:
                next_s = newest.next_s(frame.pts_s, request.sample_hz)
                time.sleep(timing.rest_s(next_s, time.monotonic(), decode_s, is_still=newest.is_still))
        began_s = time.thread_time()
    is_hurried = request.pushed_fd is not None and _is_hurried(
        first_timestamp_s, video.timestamp_s, lasted_s=time.monotonic() - opened_s
    )
    return [HURRIED] if is_hurried else []


def _is_hurried(first_s: float | None, last_s: float | None, *, lasted_s: float) -> bool:
    """Whether the timestamps of a stream that lasted `lasted_s` advanced much faster than real time."""
    if first_s is None or last_s is None:
        return False
    return last_s - first_s > 2 * lasted_s + HURRIED_S
