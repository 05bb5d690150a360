"""Turns a decoded frame into the network's input: the only resize rule, crop and normalisation in the project.

Training and serving both use it, so a network always gets input like that of its training. numpy is imported only when
needed, because the command line reads configurations without it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MEAN = 0.45
STD = 0.225
MAX_ASPECT = 8.0


Framing = Literal["centre_crop", "stretch"]
"""How a frame becomes a square: `stretch` squeezes the whole frame into it, `centre_crop` keeps only the middle."""


WHOLE_FRAME_SHARE = 0.95
"""A centre square that covers at least this share of a frame or region counts as the whole of it."""

SMALLEST_REGION_PX = 32
"""A region with a shorter side shows hardly anything."""


@dataclass(frozen=True)
class Region:
    """A rectangle in a displayed frame, in fractions of its width and height; `x` and `y` are its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    def pixels(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return left, top, width and height in pixels, inside a frame of that size, at least one pixel each."""
        left, top = min(round(self.x * width), width - 1), min(round(self.y * height), height - 1)
        right, bottom = round((self.x + self.width) * width), round((self.y + self.height) * height)
        return left, top, max(1, min(right, width) - left), max(1, min(bottom, height) - top)


WHOLE_FRAME = Region(0.0, 0.0, 1.0, 1.0)
# Decimal fractions that should add up to 1 may exceed it by this.
ROUNDING = 1e-6


def region_of(fractions: Sequence[float]) -> Region:
    """Return the region of x, y, width and height. Raises ValueError unless it lies in the frame and has an area."""
    if len(fractions) != 4 or not all(map(math.isfinite, fractions)):
        raise ValueError("expected x, y, width and height in fractions of the frame")
    x, y, width, height = fractions
    if min(x, y) < 0 or min(width, height) <= 0 or max(x + width, y + height) > 1 + ROUNDING:
        raise ValueError(f"x, y, width and height are fractions of the frame; {[*fractions]} lies outside of it")
    return Region(x, y, width, height)


@dataclass(frozen=True)
class FrameInput:
    """A network's view of a frame: a square of `size_px` pixels, filled with `region` as `framing` says."""

    size_px: int
    framing: Framing
    region: Region = WHOLE_FRAME

    def scaled_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the (width, height) in pixels to which a displayed region is resized, before `crop`.

        For `centre_crop`, the short side becomes `size_px` and the aspect ratio is kept. Regions longer than 8:1 are
        squeezed to 8:1: the crop discards the rest, and a frame of 30000 x 1 pixels must not cost gigabytes.

        Raises:
            ValueError: a side is not positive.
        """
        short, long = sorted((width, height))
        if short < 1 or self.size_px < 1:
            raise ValueError(f"cannot scale a frame of {width} x {height} to {self.size_px}: sides must be positive")
        if self.framing == "stretch":
            return self.size_px, self.size_px
        scaled_long = round(self.size_px * min(long / short, MAX_ASPECT))
        return (scaled_long, self.size_px) if width >= height else (self.size_px, scaled_long)

    def seen(self, width: int, height: int) -> Region:
        """Return the part of a displayed frame of `width` x `height` pixels that reaches the network."""
        region = self.region
        if self.framing == "stretch":
            return region
        side = min(region.width * width, region.height * height)
        seen_width, seen_height = side / width, side / height
        x, y = region.x + (region.width - seen_width) / 2, region.y + (region.height - seen_height) / 2
        return Region(x, y, seen_width, seen_height)

    def warnings(self, width: int, height: int, model: str, region_name: str | None = None) -> list[str]:
        """Return what the network `model` misses in displayed frames of `width` x `height` pixels, as sentences.

        `region_name` is how people call `region`; None for the whole frame.
        """
        region, seen = self.region, self.seen(width, height)
        share = seen.width * seen.height / (region.width * region.height)
        whole = "each frame" if region_name is None else f"the region {region_name}"
        found = []
        if share < WHOLE_FRAME_SHARE:
            found.append(
                f"The model {model} sees only the centre square of {whole}, {share:.0%} of it. Actions outside of the "
                "square are not found; use a model that was trained on whole frames, or "
                + ("crop the video." if region_name is None else "make the region square.")
            )
        region_width, region_height = round(region.width * width), round(region.height * height)
        if region_name is not None and min(region_width, region_height) < SMALLEST_REGION_PX:
            found.append(
                f"The region {region_name} has only {region_width} x {region_height} pixels of the video. Below "
                f"{SMALLEST_REGION_PX} x {SMALLEST_REGION_PX} actions can hardly be seen; make it larger, or move the "
                "camera closer."
            )
        return found

    def crop(self, image_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the middle square of a scaled region, as a view of it; all of it if the region was stretched."""
        height, width = image_HWC.shape[:2]
        size = self.size_px
        if height < size or width < size:
            raise ValueError(f"cannot crop {size} x {size} out of {width} x {height}: scale the frame first")
        top, left = (height - size) // 2, (width - size) // 2
        return image_HWC[top : top + size, left : left + size]


def normalise(images_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Convert RGB pixels 0..255 to the network's range: (x / 255 - 0.45) / 0.225, contiguous float32 (B, C, H, W)."""
    import numpy as np

    images_BCHW = np.ascontiguousarray(images_BHWC.transpose(0, 3, 1, 2), dtype=np.float32)
    images_BCHW *= 1.0 / (255.0 * STD)
    images_BCHW -= MEAN / STD
    return images_BCHW
