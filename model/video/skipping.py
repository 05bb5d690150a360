"""Skip frames of a file that need not be decoded, because only the first frame of each time slot is used.

This is exact: a skipped frame comes after a decoded frame of its slot, and it is a non-reference frame.
In a stream with B-frames that is up to half of the frames; in a stream without, none.
"""

from typing import Any

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from model.video.media_time import MediaClock, slot
from model.video.timestamps import leaps

# Codecs whose marking of non-reference frames is reliable. In HEVC, it applies only within the frame's own layer.
CODECS = frozenset({"h264"})
# At common frame rates, frames are decoded at most this long before they are displayed.
MAX_REORDERED_S = 4.0
# Frames are reordered by far fewer slots.
SLOTS_REMEMBERED = 64


def may_skip(stream: VideoStream, frame: VideoFrame) -> bool:
    """Return whether frames may be skipped; not if a frame may come as two fields, one of which would be skipped."""
    return stream.codec_context.codec.name in CODECS and not frame.interlaced_frame


class Skipper:
    """Makes the decoder skip the frame of a packet if it is not needed and is a non-reference frame."""

    def __init__(self, stream: VideoStream, clock: MediaClock, sample_hz: float) -> None:
        self._context, self._clock, self._sample_hz = stream.codec_context, clock, sample_hz
        self._begun: dict[int, int] = {}
        """The earliest timestamp of each recent slot."""
        self._max_reordered_ticks = MAX_REORDERED_S * clock.denominator / clock.numerator
        self._last_dts: int | None = None
        self._skips = self._has_stopped = False

    def see(self, packet: "Packet[Any]") -> None:
        """Process the packet that is decoded next. One without a timestamp is treated like the previous one."""
        if packet.pts is None or self._has_stopped:
            return
        if self._has_leapt(packet.dts) or self._is_implausible(packet.pts, packet.dts):
            self.stop()
            return
        at = slot(self._clock.media_s(packet.pts), self._sample_hz)
        earliest = self._begun.get(at, packet.pts)
        self._begun[at] = min(earliest, packet.pts)
        if len(self._begun) > SLOTS_REMEMBERED:
            del self._begun[min(self._begun)]
        if self._skips != (packet.pts > earliest):
            self._skips = not self._skips
            self._context.skip_frame = "NONREF" if self._skips else "DEFAULT"

    def stop(self) -> None:
        """Skip nothing from now on: timestamps no longer say to which slot a frame belongs."""
        self._has_stopped, self._skips = True, False
        self._context.skip_frame = "DEFAULT"

    def _is_implausible(self, pts: int, dts: int | None) -> bool:
        """Return whether a frame claims to be displayed long after, or before, it is decoded."""
        return dts is not None and abs(pts - dts) > self._max_reordered_ticks

    def _has_leapt(self, dts: int | None) -> bool:
        """Return whether the clock of the stream was restarted or set."""
        last, self._last_dts = self._last_dts, dts
        return dts is not None and last is not None and leaps(self._clock.media_s(last), self._clock.media_s(dts))
