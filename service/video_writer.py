"""Write pictures to a video file as H.264, each at its own time."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

# Fine enough for any frame rate; the clock of MPEG.
TIME_BASE = Fraction(1, 90_000)


class VideoWriteError(Exception):
    """The file cannot be created or the disk is full. The message is a sentence for people."""


class VideoWriter:
    """A video file that is open for writing: a context manager that completes the file when it is left.

    `width` and `height` in pixels; H.264 wants them even, so an odd side is continued by one row or column.
    `rate_hz` is what the file states; each picture's own time counts. Every method may raise VideoWriteError.
    """

    def __init__(self, path: Path, width: int, height: int, rate_hz: float, *, preset: str = "veryfast") -> None:
        self._path = path
        self._pad = ((0, height % 2), (0, width % 2), (0, 0))
        rate = Fraction(rate_hz).limit_denominator(1001)
        self._picture_duration = round(1 / (rate * TIME_BASE))
        try:
            self._container = av.open(f"file:{path}", "w", options={"movflags": "+faststart"})
        except ValueError as error:
            raise VideoWriteError(f"{path} has no ending of a video file: give one that ends in .mp4.") from error
        self._stream = self._container.add_stream("libx264", rate=rate, options={"preset": preset, "crf": "20"})
        self._stream.width, self._stream.height = width + width % 2, height + height % 2
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = TIME_BASE
        self._stream.codec_context.thread_count = 1
        with self._failing_clearly():
            # Creates the file.
            self._container.start_encoding()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with self._failing_clearly():
            try:
                self._container.mux(self._stream.encode(None))
            finally:
                self._container.close()

    def write(self, image_HWC: NDArray[np.uint8], pts_s: float) -> None:
        """Append an RGB picture shown from `pts_s` seconds on; times must grow."""
        frame = av.VideoFrame.from_ndarray(np.pad(image_HWC, self._pad, mode="edge"), format="rgb24")
        frame.pts, frame.time_base = round(pts_s / TIME_BASE), TIME_BASE
        frame.duration = self._picture_duration
        with self._failing_clearly():
            self._container.mux(self._stream.encode(frame))

    @contextmanager
    def _failing_clearly(self) -> Iterator[None]:
        try:
            yield
        except FFmpegError as error:
            raise VideoWriteError(f"{self._path} cannot be written: {error.strerror}.") from error
