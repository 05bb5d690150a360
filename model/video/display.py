"""How decoded frames are displayed: their pixel aspect ratio, and a display matrix that rotates and mirrors."""

from dataclasses import dataclass
from fractions import Fraction
from struct import unpack_from

import numpy as np
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from model.video.preprocess import Region

# Pixels more elongated than this come from a wrong header.
MAX_PIXEL_ASPECT = 8


@dataclass(frozen=True)
class Orientation:
    """Right-angled orientation of a frame: exchange rows and columns if `is_transposed`, then mirror."""

    is_transposed: bool = False
    mirrors_x: bool = False
    mirrors_y: bool = False

    @property
    def rotation_deg(self) -> int:
        """Clockwise rotation that follows mirroring left to right, if `is_mirrored`."""
        if self.is_transposed:
            return 90 if self.mirrors_x else 270
        return 180 if self.mirrors_y else 0

    @property
    def is_mirrored(self) -> bool:
        """Whether the frame is mirrored, not only rotated."""
        return (self.is_transposed + self.mirrors_x + self.mirrors_y) % 2 == 1

    def upright(self, image_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a stored image as displayed, as a view of it."""
        image = image_HWC.swapaxes(0, 1) if self.is_transposed else image_HWC
        return image[:: -1 if self.mirrors_y else 1, :: -1 if self.mirrors_x else 1]

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the displayed (width, height) of a stored size."""
        return (height, width) if self.is_transposed else (width, height)

    def stored(self, region: Region) -> Region:
        """Return where a region of the displayed frame lies in the stored one."""
        x = 1 - region.x - region.width if self.mirrors_x else region.x
        y = 1 - region.y - region.height if self.mirrors_y else region.y
        if self.is_transposed:
            return Region(y, x, region.height, region.width)
        return Region(x, y, region.width, region.height)


UPRIGHT = Orientation()


def orientation_of(frame: VideoFrame) -> Orientation:
    """Return the orientation that the display matrix of a frame requires, rounded to right angles.

    The matrix maps stored to displayed coordinates: x' = a x + c y, y' = b x + d y.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData):
        return UPRIGHT
    a, b, _, c, d = unpack_from("=5i", matrix)
    if abs(b) > abs(a):
        return Orientation(True, mirrors_x=c < 0, mirrors_y=b < 0)
    return Orientation(False, mirrors_x=a < 0, mirrors_y=d < 0)


def square_pixel_size(frame: VideoFrame, pixel_aspect: Fraction | None) -> tuple[int, int]:
    """Return the (width, height) at which a stored frame has square pixels; the height does not change."""
    if not pixel_aspect or not Fraction(1, MAX_PIXEL_ASPECT) <= pixel_aspect <= MAX_PIXEL_ASPECT:
        return frame.width, frame.height
    return max(1, round(frame.width * pixel_aspect)), frame.height
