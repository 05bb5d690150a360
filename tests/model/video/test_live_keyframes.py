"""A live decoder that fell behind continues at the next keyframe, or at once where keyframes are not marked."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, islice

import pytest

from model.video.live_clock import LiveClock
from model.video.live_reader import LiveReader
from model.video.live_timing import LiveTiming
from model.video.packets import PacketReader
from model.video.preprocess import FrameInput
from tests.support.made_videos import number_of
from tests.support.rtp_camera import RATE_HZ, RtpCamera, encoded, fragments, rtp_camera

EVERY, FRAMES, WANTED = 8, 48, 12
VPX = {"g": str(EVERY), "keyint_min": str(EVERY), "deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
X264 = {"preset": "ultrafast", "tune": "zerolatency", "g": str(EVERY), "x264-params": "repeat-headers=1"}
CAMERAS = {"libvpx": VPX, "libvpx-vp9": VPX, "libx264": X264}


@contextmanager
def playing(encoder: str) -> Iterator[RtpCamera]:
    """A camera that shows the same frames again and again, at RATE_HZ."""
    frames = encoded(encoder, FRAMES, CAMERAS[encoder])
    stopped = threading.Event()

    def send(camera: RtpCamera) -> None:
        for number in count():
            if stopped.wait(1 / RATE_HZ):
                return
            units = [payload for unit in frames[number % FRAMES] for payload in fragments(unit, encoder)]
            for payload in units if camera.viewers else []:
                camera.send(payload, number, is_marked=payload is units[-1])

    with rtp_camera(encoder) as camera:
        sender = threading.Thread(target=send, args=(camera,))
        sender.start()
        try:
            yield camera
        finally:
            stopped.set()
            sender.join()


@pytest.mark.parametrize(("encoder", "marks_keyframes"), [(name, name != "libvpx-vp9") for name in CAMERAS])
def test_after_it_fell_behind_it_waits_for_a_keyframe_only_where_keyframes_are_marked(
    encoder: str, marks_keyframes: bool
) -> None:
    timing = LiveTiming(LiveClock(None, None))
    with (
        playing(encoder) as camera,
        PacketReader(f"rtsp://127.0.0.1:{camera.port}/v", options={"rtsp_transport": "tcp"}) as packets,
    ):
        frames = LiveReader(packets, timing).frames(1000.0, FrameInput(64, "stretch"))
        shown = (number_of(frame.image) for frame in frames)
        first = next(shown)
        # Until a keyframe has come for certain, and the next one is not due.
        behind = next(number for number in shown if abs(number - first) > EVERY and number % EVERY == 2)
        timing.waits_for_keyframe = True
        numbers = list(islice(shown, WANTED))
    assert packets.has_keyframes == marks_keyframes
    assert not timing.waits_for_keyframe
    assert (timing.dropped["decoder_behind"] > 0) == marks_keyframes, (behind, numbers)
