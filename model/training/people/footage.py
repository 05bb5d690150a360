"""Degrades a scene like a cheap camera and its recorder: exposure, colour, noise, blur, blocks, text and lost
frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model.training.mocap.camera import wobble
from model.training.mocap.quaternions import Array
from model.training.people.ellipsoids import Floats

Frames = NDArray[np.uint8]
_NOISE_FRAMES = 12


@dataclass
class Recorder:
    """One camera with its recorder. `record` gets the stream's frames in order, in chunks of any length."""

    rng: np.random.Generator
    fps: int
    gain_T: Array
    """Exposure of each frame of the stream."""
    noise_T: Array
    """The noise's standard deviation in each frame, 0 to 1."""
    vignette_HW1: Floats
    tint_3: Floats
    saturation: float
    contrast: float
    sharpening: float
    """How much of the detail is added again, as cheap cameras do."""
    blur_px: float
    ghosting: float
    small: float
    """The part of the resolution that is kept."""
    jpeg: int
    """Quality of a JPEG camera; 0: none."""
    lost: float
    """How often a frame is replaced by the previous one."""
    text: str | None
    noise_KHW3: NDArray[np.float32]
    done: int = 0
    last: Floats | None = None
    middle: np.float32 | None = None
    """The first frame's mean, about which the contrast is spread."""

    @classmethod
    def drawn(
        cls,
        rng: np.random.Generator,
        width: int,
        height: int,
        frames: int,
        fps: int,
        *,
        lights_out: tuple[float, float] | None,
    ) -> Recorder:
        """A random camera sensor: exposure, noise and colour. `lights_out` is when the light is off, in seconds."""
        time_s = np.arange(frames) / fps
        night, grey = lights_out is None and rng.random() < 0.16, rng.random() < 0.1
        gain_T = float(rng.uniform(0.85, 1.15)) * (1 + rng.choice((0.0, 0.01, 0.04)) * wobble(rng, time_s, 1)[:, 0])
        noise = float(np.exp(rng.uniform(np.log(0.003), np.log(0.03))))
        if night:
            gain_T, noise = gain_T * rng.uniform(0.45, 0.85), noise * 2.0
        noise_T = np.full(frames, noise)
        if lights_out is not None:
            dark_T = _dark(time_s, *lights_out)
            gain_T, noise_T = gain_T * (1 - 0.75 * dark_T), noise_T * (1 + 2 * dark_T)
        across, down = np.linspace(-1, 1, width), np.linspace(-1, 1, height)
        fall_off = rng.uniform(0.1, 0.55) if night else rng.uniform(0, 0.2)
        vignette = 1 - fall_off * (down[:, None] ** 2 + across**2) / 2
        tint = rng.uniform(0.92, 1.08, 3)
        grain = rng.standard_normal((_NOISE_FRAMES, height, width, 3), np.float32)
        grain = 0.75 * grain + 0.5 * grain.mean(axis=3, keepdims=True) * np.float32(3**0.5)
        return cls(
            rng=rng,
            fps=fps,
            gain_T=gain_T,
            noise_T=noise_T,
            vignette_HW1=vignette[..., None].astype(np.float32),
            tint_3=tint.astype(np.float32),
            saturation=0.0 if grey or (night and rng.random() < 0.6) else float(rng.uniform(0.5, 1.5)),
            contrast=float(rng.uniform(1.1, 1.9)),
            sharpening=float(rng.uniform(0.3, 1.4)) if rng.random() < 0.65 else 0.0,
            blur_px=float(rng.choice((0.0, 0.5, 0.9), p=(0.6, 0.3, 0.1))),
            ghosting=float(rng.uniform(0.1, 0.45)) if rng.random() < (0.5 if night else 0.12) else 0.0,
            small=float(rng.uniform(0.5, 0.9)) if rng.random() < 0.2 else 1.0,
            jpeg=int(rng.uniform(12, 55)) if rng.random() < 0.3 else 0,
            lost=float(rng.uniform(0.05, 0.3)) if rng.random() < 0.12 else 0.0,
            text=str(rng.choice(("CAM 01  ", "CH 3 ", "HALL  ", "", "2026-01-"))) if rng.random() < 0.25 else None,
            noise_KHW3=grain,
        )

    def record(self, image_THW3: Floats) -> Frames:
        """The frames as they are stored, uint8 RGB (T, H, W, 3). `image_THW3` is RGB of 0 to 1."""
        return np.stack([self._one(image_HW3) for image_HW3 in image_THW3])

    def _one(self, image_HW3: Floats) -> Frames:
        index, rng = self.done, self.rng
        self.done += 1
        if self.last is not None and rng.random() < self.lost:
            return self._stored(self.last, index)
        image = image_HW3 * (self.vignette_HW1 * self.tint_3 * np.float32(self.gain_T[index]))
        if self.saturation != 1.0:
            grey = image @ np.array([0.3, 0.59, 0.11], np.float32)
            image = grey[..., None] + (image - grey[..., None]) * np.float32(self.saturation)
        if self.middle is None:
            self.middle = np.float32(image.mean())
        image = np.maximum((image - self.middle) * np.float32(self.contrast) + self.middle, 0)
        if self.sharpening:
            image = image + (image - cv2.GaussianBlur(image, (0, 0), 1.2)) * np.float32(self.sharpening)
        elif self.blur_px:
            image = cv2.GaussianBlur(image, (0, 0), self.blur_px)
        grain = self.noise_KHW3[rng.integers(_NOISE_FRAMES)]
        if rng.random() < 0.5:
            grain = grain[:, ::-1]
        image = image + grain * np.float32(self.noise_T[index])
        if self.ghosting and self.last is not None:
            image = image * np.float32(1 - self.ghosting) + self.last * np.float32(self.ghosting)
        self.last = np.asarray(image, np.float32)
        return self._stored(self.last, index)

    def _stored(self, image: Floats, index: int) -> Frames:
        height, width = image.shape[:2]
        stored = np.clip(image * 255, 0, 255).astype(np.uint8)
        if self.small < 1:
            size = (int(width * self.small), int(height * self.small))
            stored = np.asarray(cv2.resize(stored, size, interpolation=cv2.INTER_AREA), np.uint8)
        if self.jpeg:
            _, coded = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, self.jpeg])
            stored = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
        if self.small < 1:
            stored = np.asarray(cv2.resize(stored, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
        if self.text is not None:
            line = f"{self.text}{12 + index // self.fps // 60:02d}:{index // self.fps % 60:02d}"
            large = max(1, round(height / 160))
            cv2.putText(stored, line, (4, 10 * large), cv2.FONT_HERSHEY_SIMPLEX, 0.32 * large, (255, 255, 255), large)
        return stored


def _dark(time_s: Array, from_s: float, to_s: float) -> Array:
    """How dark it is, 0 to 1, when the light goes out for a time: darkness comes suddenly, then the camera adapts
    a little.
    """
    off_T = ((time_s >= from_s) & (time_s < to_s)).astype(np.float64)
    adapted_T = 0.45 * np.clip((time_s - from_s) / 1.5, 0, 1)
    dark: Array = off_T * (1 - adapted_T)
    return dark
