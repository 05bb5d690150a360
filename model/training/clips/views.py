"""Random views of labelled clips, two clips joined in each, as training sequences for a few hundred clips.

Far more is varied than for rendered streams: position, size and aspect ratio of the crop, mirroring, colours, gamma,
brightness, noise and speed. Joined clips are from one block, so a view also belongs to one block.

Shapes: V views, T steps, H and W pixels of a clip, S pixels of the input.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model.training.clips.compose import resample
from model.training.clips.variation import Images
from model.video.file_reader import open_video
from model.video.preprocess import MEAN, STD

_Floats = NDArray[np.float32]

SHORT_SIDE = 7 / 6
"""Short side of the images from which crops are cut, as a multiple of the input's side."""
SHORTEST_STEPS = 7
_SMALLEST_CROP = 0.6
_WIDE_SHARE = 0.3
_REACH = 0.35  # of the height: how far from the middle a crop may lie, because the middle is what is served


@dataclass(frozen=True)
class WholeClip:
    """A clip's images, whole, at the file's own rate."""

    images: Sequence[Images]
    pts_s: Sequence[float]
    target: int
    """Label index."""


@dataclass(frozen=True)
class ClipView:
    """One training sequence, with the label index of each frame."""

    images_TCSS: _Floats
    """Normalised RGB."""
    target_T: NDArray[np.int64]


def load_clip(path: Path, target: int, size: int, longest_s: float = math.inf) -> WholeClip:
    """Load the clip's first `longest_s`, scaled so that a random crop of about the short side has `size` pixels. Raises
    VideoError.
    """
    with open_video(path) as video:
        frames: list[tuple[Images, float]] = []
        for frame in video.frames():
            if frames and frame.pts_s - frames[0][1] >= longest_s:  # sound may begin long before the first frame
                break
            frames.append((_shrink(frame.image, round(size * SHORT_SIDE)), frame.pts_s))
    return WholeClip([image for image, _ in frames], [pts_s for _, pts_s in frames], target)


def draw_views(
    clips: Sequence[WholeClip], rng: np.random.Generator, *, views: int, steps: int, sample_hz: float, size: int
) -> Iterator[ClipView]:
    """Views of `steps` frames: one clip, then another one with the same or another label.

    Labels alternate at the beginning, as do the clips of each label. `clips` are those of one block.
    """
    queues = {target: _Turns([c for c in clips if c.target == target], rng) for target in {c.target for c in clips}}
    targets = sorted(queues)
    for index in range(views):
        first, second = targets[index % len(targets)], targets[int(rng.integers(len(targets)))]
        cut = int(rng.integers(SHORTEST_STEPS, steps - SHORTEST_STEPS + 1))
        parts = [(queues[first].next(), cut), (queues[second].next(), steps - cut)]
        images = [render_view(clip, rng, length, sample_hz, size) for clip, length in parts]
        yield ClipView(np.concatenate(images), np.repeat([first, second], [cut, steps - cut]))


class _Turns:
    """Each clip once, in random order, again and again."""

    def __init__(self, clips: Sequence[WholeClip], rng: np.random.Generator) -> None:
        self._clips, self._rng = clips, rng
        self._left: list[int] = []

    def next(self) -> WholeClip:
        if not self._left:
            self._left = list(self._rng.permutation(len(self._clips)))
        return self._clips[self._left.pop()]


def _shrink(image_HWC: Images, short_side: int) -> Images:
    height, width = image_HWC.shape[:2]
    scale = short_side / min(height, width)
    sides = (max(short_side, round(width * scale)), max(short_side, round(height * scale)))
    return np.asarray(cv2.resize(image_HWC, sides, interpolation=cv2.INTER_AREA), np.uint8)


def render_view(clip: WholeClip, rng: np.random.Generator, steps: int, sample_hz: float, size: int) -> _Floats:
    """One view of `steps` frames of a clip, normalised RGB (T, C, S, S)."""
    speed = rng.uniform(0.8, 1.25)
    span_s = (steps - 1) / sample_hz * speed
    # A clip that is too short is played more slowly instead of standing still at its end.
    span_s = min(span_s, clip.pts_s[-1])
    times_s = rng.uniform(0, clip.pts_s[-1] - span_s) + np.linspace(0, span_s, steps)
    cropped_TSSC = _crop(resample(clip.images, clip.pts_s, times_s), rng, size)
    return recolour(cropped_TSSC.astype(np.float32) / np.float32(255), rng)


def _crop(images: Sequence[Images], rng: np.random.Generator, size: int) -> Images:
    height, width = images[0].shape[:2]
    tall = height * rng.uniform(_SMALLEST_CROP, 1.0)
    wide = min(width, tall * np.exp(rng.uniform(-0.2, 0.2)))
    if rng.random() < _WIDE_SHARE:
        wide = rng.uniform(wide, width)
    spare_y, spare_x = height - tall, width - wide
    reach = min(spare_x / 2, _REACH * height)
    top, left = int(rng.uniform(0, spare_y)), int(spare_x / 2 + rng.uniform(-reach, reach))
    method = cv2.INTER_AREA if tall > size else cv2.INTER_LINEAR
    crops = [image[top : top + int(tall), left : left + int(wide)] for image in images]
    sized = [cv2.resize(crop, (size, size), interpolation=method) for crop in crops]
    cropped_TSSC = np.stack(sized).astype(np.uint8, copy=False)
    return cropped_TSSC[:, :, ::-1] if rng.random() < 0.5 else cropped_TSSC


def recolour(images_TSSC: _Floats, rng: np.random.Generator) -> _Floats:
    """Grey or other colours, gamma, brightness and noise, the same for all frames; normalised (T, C, S, S)."""
    if rng.random() < 0.25:
        images_TSSC = np.repeat(images_TSSC.mean(axis=3, keepdims=True), 3, axis=3)
    else:
        images_TSSC = images_TSSC[..., rng.permutation(3)] * rng.uniform(0.8, 1.25, 3).astype(np.float32)
    gamma, brightness = np.exp(rng.uniform(-0.35, 0.35)), rng.uniform(0.7, 1.2)
    images_TSSC = images_TSSC ** np.float32(gamma) * np.float32(brightness)
    if rng.random() < 0.3:
        noise = rng.normal(0, rng.uniform(0.005, 0.04), images_TSSC.shape)
        images_TSSC = images_TSSC + noise.astype(np.float32)
    images_TCSS: _Floats = (images_TSSC.clip(0, 1).transpose(0, 3, 1, 2) - np.float32(MEAN)) / np.float32(STD)
    return images_TCSS
