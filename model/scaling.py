"""Decoded pictures in another size and pixel format."""

from typing import Literal

import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from model.container import VideoError

# Put together once: for each picture that takes long.
SMALLER = Interpolation.AREA | Interpolation.ACCURATE_RND
LARGER = Interpolation.BILINEAR | Interpolation.ACCURATE_RND


class Scaler:
    """Sets up anew whenever it is asked for another size or format than the last time: have one for each."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def scale(
        self, picture: VideoFrame, width: int, height: int, pixel_format: Literal["rgb24", "gbrp", "yuvj420p"]
    ) -> VideoFrame:
        """In one pass of swscale; the picture itself when there is nothing to do. Raises VideoError."""
        try:
            return self._reformatter.reformat(
                picture,
                width,
                height,
                pixel_format,
                dst_color_range="JPEG" if pixel_format == "yuvj420p" else None,
                interpolation=SMALLER if width < picture.width else LARGER,
                threads=1,
            )
        except FFmpegError as error:
            detail = f"Pictures in the pixel format {picture.format.name} are not supported. Send the video as H.264."
            raise VideoError("source_unsupported", detail) from error

    def upright_rgb(self, picture: VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
        """Scaled to width x height pixels, then turned as the display matrix says. Raises VideoError."""
        pixel_format: Literal["rgb24", "gbrp"] = "gbrp" if _may_be_planar(picture, width, height) else "rgb24"
        rgb = self.scale(picture, width, height, pixel_format).to_ndarray()
        return np.ascontiguousarray(np.rot90(rgb, round(picture.rotation / 90)))


def _may_be_planar(picture: VideoFrame, width: int, height: int) -> bool:
    """Whether swscale makes the same pixels, to the bit, in planes, which takes half the time.

    Only of an odd width does it compute the colour of packed pixels one by one, too, and not of two together; and only
    from more than two rows for each does it round the same.
    """
    return width % 2 == 1 and width < picture.width and 2 * height <= picture.height
