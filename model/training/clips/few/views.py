"""The views of a clip for the frozen network: one as it is served, others as it might have looked on other occasions.

Shapes: V views, T frames, H and W pixels of a clip, S pixels of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model.config import ModelConfig
from model.training.clips.compose import resample
from model.training.clips.variation import Images
from model.training.clips.views import WholeClip, load_clip, recolour
from model.video.file_reader import open_video

_Floats = NDArray[np.float32]

LONGEST_S = 20.0
"""Maximum used length of a clip."""
_VIEW_S = 5.0
_SMALLEST_CROP = 0.75
_SPEEDS = (0.8, 1.25)


def served_frames(path: Path, config: ModelConfig) -> NDArray[np.uint8]:
    """The images of a clip that a detector of this configuration sees: (T, S, S, 3). Raises VideoError."""
    with open_video(path) as video:
        frames = video.frames(config.sample_hz, config.frame_input)
        return np.stack([frame.image for frame in islice(frames, round(LONGEST_S * config.sample_hz))])


def random_views(path: Path, config: ModelConfig, rng: np.random.Generator, views: int) -> _Floats:
    """A clip in other crops, colours, light and speeds, or mirrored: normalised RGB (V, T, 3, S, S).

    Raises VideoError.
    """
    clip = load_clip(path, 0, config.image_size, LONGEST_S)
    length_s = clip.pts_s[-1] + 1 / config.sample_hz
    steps = max(1, int(min(length_s, _VIEW_S) * config.sample_hz))
    return np.stack([_view(clip, config, rng, length_s, steps) for _ in range(views)])


def _view(clip: WholeClip, config: ModelConfig, rng: np.random.Generator, length_s: float, steps: int) -> _Floats:
    # A clip that is too short is played more slowly instead of standing still at its end.
    span_s = min(length_s, steps / config.sample_hz * rng.uniform(*_SPEEDS))
    times_s = np.linspace(0, span_s, steps, endpoint=False, dtype=np.float64) + rng.uniform(0, length_s - span_s)
    cropped_TSS3 = _crop(resample(clip.images, clip.pts_s, times_s), config, rng)
    return recolour(cropped_TSS3.astype(np.float32) / np.float32(255), rng)


def _crop(images: Sequence[Images], config: ModelConfig, rng: np.random.Generator) -> Images:
    """A crop of most of the served region, squeezed into the input as in serving, or its mirror image."""
    height, width = images[0].shape[:2]
    if config.framing == "centre_crop":
        height = width = min(height, width)
    top, left = ((side - inner) // 2 for side, inner in zip(images[0].shape[:2], (height, width), strict=True))
    tall, wide = (int(side * rng.uniform(_SMALLEST_CROP, 1.0)) for side in (height, width))
    top, left = top + int(rng.integers(height - tall + 1)), left + int(rng.integers(width - wide + 1))
    crops = [image[top : top + tall, left : left + wide] for image in images]
    size = (config.image_size, config.image_size)
    cropped_TSS3 = np.stack([np.asarray(cv2.resize(c, size, interpolation=cv2.INTER_AREA), np.uint8) for c in crops])
    return cropped_TSS3[:, :, ::-1] if rng.random() < 0.5 else cropped_TSS3
