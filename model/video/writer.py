"""Write frames to a video file as H.264, each with its own time. The only video encoder of the project."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from model.atomic import write_atomically

# Fine enough for any frame rate: the clock of MPEG.
TIME_BASE = Fraction(1, 90_000)
MP4_SUFFIXES = (".mp4", ".m4v", ".mov")
# x264 makes different decisions with each SIMD extension, and with AVX-512 sometimes from one run to the next.
REPRODUCIBLE = {"x264-params": "asm=0"}


class VideoWriteError(Exception):
    """The file cannot be created or the disk is full. The message is a sentence for people."""


class VideoWriter:
    """A video file that is open for writing: a context manager that completes the file on exit.

    Args:
        width: in pixels. H.264 requires even sides, so an odd side is extended by one column or row.
        height: in pixels.
        rate_hz: the frame rate that the file states; each frame has its own time.
        crf: x264's constant rate factor, from 0 (lossless) to 51.
        reproducible: write the same bytes on every machine, more slowly.

    Raises:
        VideoWriteError: any method may raise it.
    """

    def __init__(
        self, path: Path, width: int, height: int, rate_hz: float, *, crf: int = 20, reproducible: bool = False
    ) -> None:
        self._path = path
        self._pad = ((0, height % 2), (0, width % 2), (0, 0))
        rate = Fraction(rate_hz).limit_denominator(1001)
        self._frame_duration = round(1 / (rate * TIME_BASE))
        # Other containers do not know the option, and FFmpeg would warn.
        options = {"movflags": "+faststart"} if path.suffix.lower() in MP4_SUFFIXES else {}
        try:
            self._container = av.open(f"file:{path}", "w", options=options)
        except ValueError as error:
            raise VideoWriteError(f"{path} has no suffix of a video file: give a path that ends in .mp4.") from error
        codec_options = {"preset": "veryfast", "crf": str(crf)} | (REPRODUCIBLE if reproducible else {})
        self._stream = self._container.add_stream("libx264", rate=rate, options=codec_options)
        self._stream.width, self._stream.height = width + width % 2, height + height % 2
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = TIME_BASE
        self._stream.codec_context.thread_count = 1
        with self._translating_errors():
            # Creates the file.
            self._container.start_encoding()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with self._translating_errors():
            try:
                self._container.mux(self._stream.encode(None))
            finally:
                self._container.close()

    def write(self, image_HWC: NDArray[np.uint8], pts_s: float) -> None:
        """Append an RGB frame shown from `pts_s` seconds on. Times must increase."""
        frame = av.VideoFrame.from_ndarray(np.pad(image_HWC, self._pad, mode="edge"), format="rgb24")
        frame.pts, frame.time_base = round(pts_s / TIME_BASE), TIME_BASE
        frame.duration = self._frame_duration
        with self._translating_errors():
            self._container.mux(self._stream.encode(frame))

    @contextmanager
    def _translating_errors(self) -> Iterator[None]:
        try:
            yield
        except FFmpegError as error:
            raise VideoWriteError(f"{self._path} cannot be written: {error.strerror}.") from error


def write_h264(path: Path, images: Iterable[NDArray[np.uint8]], *, width: int, height: int, fps: int, crf: int) -> int:
    """Write RGB images (height, width, 3) as a video that appears only when complete and is identical on every machine.

    Returns the number of images. Raises VideoWriteError.
    """
    count = 0
    with (
        write_atomically(path) as partial,
        VideoWriter(partial, width, height, fps, crf=crf, reproducible=True) as file,
    ):
        for image in images:
            file.write(image, count / fps)
            count += 1
    return count
