"""Writing pictures as an H.264 file whose bytes do not depend on the machine."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


def write_h264(path: Path, pictures: Iterable[NDArray[np.uint8]], *, size: int, fps: int, crf: int) -> int:
    """RGB pictures (size, size, 3) into an MP4 file that appears once it is whole. Returns how many there were.

    `size` is even. `crf`: x264's constant rate factor, from 0 (lossless) to 51.
    """
    part = path.with_suffix(".part")
    count = 0
    with av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        # x264 decides otherwise with each SIMD extension, and with AVX-512 sometimes from one run to the next.
        options = {"crf": str(crf), "preset": "veryfast", "x264-params": "asm=0"}
        stream = container.add_stream("h264", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = size, size, "yuv420p"
        stream.codec_context.thread_count = 1  # the bytes must not depend on the machine
        stream.codec_context.time_base = Fraction(1, fps)
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = count
            container.mux(stream.encode(frame))
            count += 1
        container.mux(stream.encode(None))
    part.replace(path)
    return count
