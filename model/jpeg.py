"""Pictures for people, as JPEG."""

from fractions import Fraction

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray


def encode_jpeg(image: NDArray[np.uint8]) -> bytes:
    """Of an RGB picture, uint8 (H, W, 3)."""
    picture = VideoFrame.from_ndarray(image, format="rgb24")
    picture = picture.reformat(format="yuvj420p", dst_color_range="JPEG", threads=1)
    picture.pts = 0
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count = 1
    encoder.options = {"qmin": "3", "qmax": "5"}
    return b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])
