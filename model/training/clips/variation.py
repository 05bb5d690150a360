"""Shows a clip as other cameras might have: nearer or farther, elsewhere in the frame, mirrored, in another light,
faster or slower.

Shapes: T frames, H x W pixels of the clip, S pixels of the square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]

_ZOOM = (0.55, 1.5)
"""Shown size of the clip, as a multiple of the square's side; if it is smaller, its edges are extended."""
_LARGEST_STRETCH = 0.2
_SPEED = (0.8, 1.25)


@dataclass(frozen=True)
class Variation:
    """One way to show a clip, the same for all of its frames."""

    zoom: float = 1.0
    stretch: float = 1.0
    """How much wider than its aspect ratio the clip is shown."""
    place_2: tuple[float, float] = (0.5, 0.5)
    """The position of the spare room or the crop, 0 to 1 in x and y."""
    mirrored: bool = False
    gamma: float = 1.0
    gains_3: tuple[float, float, float] = (1.0, 1.0, 1.0)
    grey: bool = False
    speed: float = 1.0

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Variation:
        """A random variation; in a quarter of the draws, the whole clip unchanged."""
        whole = rng.random() < 0.25
        brightness = rng.uniform(0.7, 1.25)
        red, green, blue = (float(brightness * gain) for gain in rng.uniform(0.88, 1.14, 3))
        return cls(
            zoom=1.0 if whole else float(np.exp(rng.uniform(*np.log(_ZOOM)))),
            stretch=1.0 if whole else float(np.exp(rng.uniform(-_LARGEST_STRETCH, _LARGEST_STRETCH))),
            place_2=(float(rng.random()), float(rng.random())),
            mirrored=bool(rng.random() < 0.5),
            gamma=float(np.exp(rng.uniform(-0.35, 0.35))),
            gains_3=(red, green, blue),
            grey=bool(rng.random() < 0.2),
            speed=float(np.exp(rng.uniform(*np.log(_SPEED)))),
        )

    def show(self, images: Sequence[Images], size: int) -> list[Images]:
        """RGB images (H, W, 3) as squares (S, S, 3); without variation, a clip of any aspect ratio fills the square."""
        levels = np.linspace(0, 1, 256)[:, None] ** self.gamma * np.array(self.gains_3) * 255
        table_256x3 = levels.clip(0, 255).round().astype(np.uint8)
        shown = []
        for image in images:
            square = cv2.warpAffine(
                image,
                self._placing(image.shape[1], image.shape[0], size),
                (size, size),
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
            grey = np.repeat(square.mean(2, keepdims=True), 3, 2).astype(np.uint8) if self.grey else square
            shown.append(np.asarray(cv2.LUT(grey, table_256x3[None]), np.uint8))
        return shown

    def _placing(self, width: int, height: int, size: int) -> NDArray[np.float64]:
        """The transformation from pixels of the clip to pixels of the square."""
        shown_x, shown_y = size * self.zoom * self.stretch, size * self.zoom
        left, top = ((size - shown) * place for shown, place in zip((shown_x, shown_y), self.place_2, strict=True))
        scale_x, scale_y = shown_x / width, shown_y / height
        if self.mirrored:
            return np.array([[-scale_x, 0.0, left + shown_x], [0.0, scale_y, top]])
        return np.array([[scale_x, 0.0, left], [0.0, scale_y, top]])
