"""Snapshots for people, as JPEG."""

from fractions import Fraction

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from model.video.display import UPRIGHT, Orientation, square_pixel_size
from model.video.hdr import is_hdr, tone_mapped
from model.video.scaling import Scaler


class JpegEncoder:
    """Encodes one frame after another, and keeps the encoder of the last size."""

    def __init__(self) -> None:
        self._scaler, self._rgb_scaler = Scaler(), Scaler()
        self._context: VideoCodecContext | None = None
        self._encoded = 0

    def encode(
        self, frame: VideoFrame, pixel_aspect: Fraction | None, orientation: Orientation, max_side: int
    ) -> bytes:
        """Encode the whole frame as displayed, with no side over `max_side` pixels. Raises VideoError."""
        width, height = square_pixel_size(frame, pixel_aspect)
        scale = min(1.0, max_side / max(width, height))
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
        if orientation != UPRIGHT or is_hdr(frame):
            upright = orientation.upright(tone_mapped(self._rgb_scaler.rgb(frame, width, height), frame))
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(upright), format="rgb24")
            width, height = frame.width, frame.height
        scaled = self._scaler.scale(frame, width, height, "yuvj420p")
        if self._context is None or (self._context.width, self._context.height) != (width, height):
            self._context = _context(width, height)
        pts, time_base = scaled.pts, scaled.time_base
        self._encoded += 1
        scaled.pts, scaled.time_base = self._encoded, self._context.time_base
        try:
            return b"".join(bytes(packet) for packet in self._context.encode(scaled))
        finally:
            if scaled is frame:  # not a copy: its time belongs to the caller
                scaled.pts, scaled.time_base = pts, time_base


def _context(width: int, height: int) -> VideoCodecContext:
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count = 1
    encoder.options = {"qmin": "3", "qmax": "5"}
    return encoder
