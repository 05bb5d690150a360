"""Decoded frames in another size and pixel format."""

from typing import Literal

import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from model.video.errors import VideoError

# Combined once, because doing it for each frame is slow.
SMALLER = Interpolation.AREA | Interpolation.ACCURATE_RND
LARGER = Interpolation.BILINEAR | Interpolation.ACCURATE_RND


class Scaler:
    """Scales frames. It sets up again whenever the size or format changes, so use one for each."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def scale(
        self, frame: VideoFrame, width: int, height: int, pixel_format: Literal["rgb24", "gbrp", "yuvj420p"]
    ) -> VideoFrame:
        """Scale in one pass of swscale. Returns the frame itself when there is nothing to do. Raises VideoError."""
        try:
            return self._reformatter.reformat(
                frame,
                width,
                height,
                pixel_format,
                dst_color_range="JPEG" if pixel_format == "yuvj420p" else None,
                interpolation=SMALLER if width < frame.width else LARGER,
                threads=1,
            )
        except FFmpegError as error:
            detail = f"Frames in the pixel format {frame.format.name} are not supported. Send the video as H.264."
            raise VideoError("source_unsupported", detail) from error

    def rgb(self, frame: VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
        """Return RGB (height, width, 3), as stored: neither rotated nor mirrored. Raises VideoError."""
        pixel_format: Literal["rgb24", "gbrp"] = "gbrp" if _may_be_planar(frame, width, height) else "rgb24"
        return np.asarray(self.scale(frame, width, height, pixel_format).to_ndarray(), np.uint8)


def _may_be_planar(frame: VideoFrame, width: int, height: int) -> bool:
    """Return whether swscale makes exactly the same pixels from planes, which takes half the time.

    Only for an odd width does it also compute the colour of packed pixels one by one instead of in pairs, and it rounds
    the same way only with at least two source rows per row.
    """
    return width % 2 == 1 and width < frame.width and 2 * height <= frame.height
