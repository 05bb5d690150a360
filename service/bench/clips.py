"""Generates the videos for the measurements."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.video.file_reader import open_video
from model.video.writer import VideoWriter

RATE_HZ = 30.0
PAN_PX = 64
GREY = 96


def write_moving(path: Path, width: int, height: int, duration_s: float) -> None:
    """Write texture at all scales under a panning, unsteady camera, with blocks that cross the frame."""
    rng = np.random.default_rng(0)
    texture = _texture(rng, width + 2 * PAN_PX, height + 2 * PAN_PX)
    block, colours = height // 4, rng.integers(0, 256, (3, 3), np.uint8)
    with VideoWriter(path, width, height, RATE_HZ) as writer:
        for number in range(round(duration_s * RATE_HZ)):
            at_s = number / RATE_HZ
            left = PAN_PX + round(PAN_PX * np.sin(0.9 * at_s))
            top = PAN_PX + round(PAN_PX * np.sin(1.3 * at_s))
            image = texture[top : top + height, left : left + width].copy()
            for i, colour in enumerate(colours):
                x = round((0.2 + 0.15 * i) * width * at_s) % (width - block)
                image[i * block : (i + 1) * block, x : x + block] = colour
            writer.write(image, at_s)


def write_scaled(path: Path, source: Path, width: int, height: int, duration_s: float) -> None:
    """Write the first seconds of `source`, scaled to the height and centred in the frame. Raises VideoError."""
    with open_video(source) as video, VideoWriter(path, width, height, video.info.rate_hz or RATE_HZ) as writer:
        # Wider ones are squeezed.
        shown = min(width, round(video.info.width * height / video.info.height))
        left = (width - shown) // 2
        for frame in video.frames():
            if frame.pts_s >= duration_s:
                return
            image = np.full((height, width, 3), GREY, np.uint8)
            image[:, left : left + shown] = np.asarray(Image.fromarray(frame.image).resize((shown, height)))
            writer.write(image, frame.pts_s)


def _texture(rng: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    total = np.zeros((height, width, 3), np.float32)
    for octave in range(1, 8):
        coarse = rng.integers(0, 256, (2**octave, 2**octave, 3), np.uint8)
        total += np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)) / 2**octave
    return np.clip(total, 0, 255).astype(np.uint8)
