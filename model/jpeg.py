"""Pictures for people, as JPEG."""

from fractions import Fraction

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from model.scaling import Scaler


class JpegEncoder:
    """Encodes one picture after another, and keeps what it set up for the size of the last one."""

    def __init__(self) -> None:
        self._scaler, self._turned_scaler = Scaler(), Scaler()
        self._context: VideoCodecContext | None = None
        self._encoded = 0

    def encode(self, picture: VideoFrame, max_side: int) -> bytes:
        """The whole picture, upright, with no side over `max_side` pixels. Raises VideoError."""
        scale = min(1.0, max_side / max(picture.width, picture.height))
        width, height = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        if picture.rotation:
            turned = self._turned_scaler.upright_rgb(picture, width, height)
            picture = VideoFrame.from_ndarray(turned, format="rgb24")
            width, height = picture.width, picture.height
        scaled = self._scaler.scale(picture, width, height, "yuvj420p")
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
