"""From a decoded picture to the network's input: the only resize rule, crop and normalisation in the project.

Training and serving both go through here, so a network always sees what it was trained on.
"""

import numpy as np
from numpy.typing import NDArray

MEAN = 0.45
STD = 0.225
MAX_ASPECT = 8.0


def scaled_size(width: int, height: int, size: int) -> tuple[int, int]:
    """Size in pixels to which a picture is resized before the centre crop.

    The short side becomes `size` and the aspect is kept. Pictures longer than 8:1 are squeezed to 8:1: the crop throws
    the rest away, and a 30000 x 1 picture must not cost gigabytes.

    Returns (width, height), both at least `size`.
    """
    short, long = sorted((width, height))
    if short < 1 or size < 1:
        raise ValueError(f"a picture of {width} x {height} cannot be scaled to {size}: every side must be positive")
    scaled_long = round(size * min(long / short, MAX_ASPECT))
    return (scaled_long, size) if width >= height else (size, scaled_long)


def center_crop(image_HWC: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The middle `size` x `size` pixels of a picture, as a view of it."""
    height, width = image_HWC.shape[:2]
    if height < size or width < size:
        raise ValueError(f"cannot crop {size} x {size} out of {width} x {height}: scale the picture first")
    top, left = (height - size) // 2, (width - size) // 2
    return image_HWC[top : top + size, left : left + size]


def normalise(images_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """RGB pixels 0..255 to the network's range: (x / 255 - 0.45) / 0.225, as float32 (B, C, H, W), contiguous."""
    images_BCHW = np.ascontiguousarray(images_BHWC.transpose(0, 3, 1, 2), dtype=np.float32)
    images_BCHW *= 1.0 / (255.0 * STD)
    images_BCHW -= MEAN / STD
    return images_BCHW
