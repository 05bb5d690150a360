"""Decoding a video to frames of the network's size as a user would write it, with OpenCV and with PyAV.

Each loop decodes every frame and keeps one in `EVERY`, as a model at 10 Hz needs from a camera at 30 frames per second.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from model.video.file_reader import open_video
from service.bench.clips import RATE_HZ
from service.bench.decode import SAMPLING

EVERY = round(RATE_HZ / SAMPLING.sample_hz)
SIZE = SAMPLING.image_size


def write_as_camera(path: Path, source: Path) -> None:
    """Encode `source` again as cameras do: without B-frames, one reference frame each, a keyframe every 2 s."""
    options = {"preset": "veryfast", "tune": "zerolatency", "crf": "23", "g": str(round(2 * RATE_HZ)), "bf": "0"}
    with av.open(source) as read, av.open(path, "w") as written:
        stream = written.add_stream("libx264", rate=Fraction(RATE_HZ), options=options)
        given = read.streams.video[0]
        stream.width, stream.height, stream.pix_fmt = given.width, given.height, "yuv420p"
        stream.codec_context.thread_count = 1
        for number, frame in enumerate(read.decode(given)):
            frame.pts, frame.time_base, frame.pict_type = number, 1 / Fraction(RATE_HZ), 0
            written.mux(stream.encode(frame))
        written.mux(stream.encode(None))


def ours(path: Path) -> int:
    """The number of frames that the service's reader takes."""
    with open_video(path) as video:
        return sum(1 for _ in video.frames(SAMPLING.sample_hz, SAMPLING.frame_input))


def with_pyav(path: Path) -> int:
    """The number of frames that a loop with PyAV takes."""
    taken = 0
    with av.open(path) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for number, frame in enumerate(container.decode(video=0)):
            if number % EVERY == 0:
                taken += frame.to_ndarray(width=SIZE, height=SIZE, format="rgb24").shape == (SIZE, SIZE, 3)
    return taken


def opencv_reader() -> Callable[[Path], int]:
    """A function that counts the frames that a loop with OpenCV takes. Raises ModuleNotFoundError without OpenCV."""
    import cv2

    def with_opencv(path: Path) -> int:
        capture, number, taken = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1]), 0, 0
        while True:
            read, image_HWC = capture.read()
            if not read:
                capture.release()
                return taken
            if number % EVERY == 0:
                small_HWC = np.asarray(cv2.cvtColor(cv2.resize(image_HWC, (SIZE, SIZE)), cv2.COLOR_BGR2RGB))
                taken += small_HWC.shape == (SIZE, SIZE, 3)
            number += 1

    return with_opencv
