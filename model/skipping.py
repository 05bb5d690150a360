"""Which pictures of a file need not be decoded, as of each slot of time only the first is taken.

Exact, not a guess: what is skipped is later than a picture of its slot that was decoded, and no other picture leans on
it. Of a stream with B-frames that is up to half of the pictures; of one without, none.
"""

from typing import Any

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from model.media_time import MediaClock, slot

# Here a picture that says that no other leans on it is right. In HEVC it speaks of its own layer alone.
CODECS = frozenset({"h264"})
# Pictures leave the order in which they are shown by far less.
SLOTS_REMEMBERED = 64


def may_skip(stream: VideoStream, picture: VideoFrame) -> bool:
    """Not where a picture may come as two fields, of which one would be skipped."""
    return stream.codec_context.codec.name in CODECS and not picture.interlaced_frame


class Skipper:
    """Tells a stream's decoder for each packet whether its picture matters, unless others lean on it."""

    def __init__(self, stream: VideoStream, clock: MediaClock, sample_hz: float) -> None:
        self._context, self._clock, self._sample_hz = stream.codec_context, clock, sample_hz
        self._begun: dict[int, int] = {}
        """The earliest timestamp of each slot seen last."""
        self._skips = False

    def see(self, packet: "Packet[Any]") -> None:
        """The packet that is decoded next. One without a timestamp goes the way of the one before."""
        if packet.pts is None:
            return
        at = slot(self._clock.media_s(packet.pts), self._sample_hz)
        earliest = self._begun.get(at, packet.pts)
        self._begun[at] = min(earliest, packet.pts)
        if len(self._begun) > SLOTS_REMEMBERED:
            del self._begun[min(self._begun)]
        if self._skips != (packet.pts > earliest):
            self._skips = not self._skips
            self._context.skip_frame = "NONREF" if self._skips else "DEFAULT"
