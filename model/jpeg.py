"""Pictures for people, as JPEG."""

from fractions import Fraction

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter


class JpegEncoder:
    """Scales and encodes one picture after another. It keeps what it set up for the size of the last one."""

    def __init__(self) -> None:
        # Of its own: a reformatter that is asked for two sizes in turn sets up anew each time.
        self._reformatter = VideoReformatter()
        self._context: VideoCodecContext | None = None
        self._encoded = 0

    def encode(self, picture: VideoFrame, width: int, height: int, interpolation: Interpolation) -> bytes:
        """A JPEG of `width` x `height` pixels. Raises FFmpegError for a pixel format that it does not know."""
        scaled = self._reformatter.reformat(
            picture, width, height, "yuvj420p", dst_color_range="JPEG", interpolation=interpolation, threads=1
        )
        if self._context is None or (self._context.width, self._context.height) != (width, height):
            self._context = _context(width, height)
        pts, time_base = scaled.pts, scaled.time_base
        self._encoded += 1
        scaled.pts, scaled.time_base = self._encoded, self._context.time_base
        try:
            return b"".join(bytes(packet) for packet in self._context.encode(scaled))
        finally:
            if scaled is picture:  # nothing was to be changed, and its time is not ours
                scaled.pts, scaled.time_base = pts, time_base


def _context(width: int, height: int) -> VideoCodecContext:
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count = 1
    encoder.options = {"qmin": "3", "qmax": "5"}
    return encoder
