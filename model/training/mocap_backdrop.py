"""Everything behind the figure, drawn with numpy: a textured floor with the figure's shadow, and a far panorama."""

import numpy as np
from numpy.typing import NDArray

from model.training.quaternions import Array

Image = NDArray[np.float32]
_TEXELS = 256
_SHADOW_RADIUS_M = 0.17


class Backdrop:
    """The surroundings of one stream, seen by cameras of one size and field of view.

    Images are float32 RGB (H, W, 3) of 0 to 255.
    """

    def __init__(self, rng: np.random.Generator, size: int, tan_half_fov: float) -> None:
        across = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
        x_HW, y_HW = np.meshgrid(across * tan_half_fov, -across * tan_half_fov)
        rays_HW3 = np.stack([x_HW, y_HW, -np.ones_like(x_HW)], axis=-1)
        self._rays_HW3 = (rays_HW3 / np.linalg.norm(rays_HW3, axis=-1, keepdims=True)).astype(np.float32)
        self._floor = _floor_tile(rng)
        self._far = _panorama(rng)
        self._texels_per_m = float(rng.uniform(0.5, 1.3) * _TEXELS / 4)
        self._horizon_3 = self._far[-1].mean(axis=0) * 0.5 + self._floor.mean(axis=(0, 1)) * 0.5
        self._fade_m = float(rng.uniform(5, 25))
        self._shadow = rng.uniform(0.25, 0.6) if rng.random() < 0.7 else 0.0

    def draw(self, eye_3: Array, axes_33: Array, joints_J3: Array, light_3: Array) -> Image:
        """What the camera sees without the figure; `light_3` points from the floor to the light."""
        eye_3 = eye_3.astype(np.float32)
        rays_HW3 = self._rays_HW3 @ axes_33.astype(np.float32)
        image_HW3 = np.empty_like(rays_HW3)
        down = rays_HW3[..., 1] < -0.01
        image_HW3[~down] = self._panorama_colours(rays_HW3[~down])
        rays_N3 = rays_HW3[down]
        distance_N = eye_3[1] / -rays_N3[:, 1]
        places_N2 = eye_3[[0, 2]] + rays_N3[:, [0, 2]] * distance_N[:, None]
        texels_N2 = (places_N2 * self._texels_per_m).astype(np.int32) & (_TEXELS - 1)
        colours_N3 = self._floor[texels_N2[:, 0], texels_N2[:, 1]]
        if self._shadow:
            colours_N3 = colours_N3 * (1 - self._shadow * _shadow(places_N2, joints_J3, light_3))[:, None]
        clear_N1 = np.exp(-distance_N / self._fade_m)[:, None]
        image_HW3[down] = self._horizon_3 + (colours_N3 - self._horizon_3) * clear_N1
        return image_HW3

    def _panorama_colours(self, rays_N3: Image) -> Image:
        height, width = self._far.shape[:2]
        turn_N = np.arctan2(rays_N3[:, 2], rays_N3[:, 0]) / (2 * np.pi) + 0.5
        row_N = ((1 - np.clip(rays_N3[:, 1], 0, 0.999)) * height).astype(np.int32)
        colours: Image = self._far[np.minimum(row_N, height - 1), (turn_N * width).astype(np.int32) % width]
        return colours


def _shadow(places_N2: Image, joints_J3: Array, light_3: Array) -> Image:
    """How much of the light (N,) of 0 to 1 each floor point misses: soft discs under the joints."""
    fallen_J2 = (joints_J3[:, [0, 2]] - light_3[[0, 2]] * (joints_J3[:, 1:2] / light_3[1])).astype(np.float32)
    dark_N = np.zeros(len(places_N2), dtype=np.float32)
    low, high = fallen_J2.min(axis=0) - _SHADOW_RADIUS_M, fallen_J2.max(axis=0) + _SHADOW_RADIUS_M
    near = np.flatnonzero(((places_N2 > low) & (places_N2 < high)).all(axis=1))
    apart_NJ = ((places_N2[near, None] - fallen_J2) ** 2).sum(axis=-1)
    dark_N[near] = np.clip(1.5 - 1.5 * apart_NJ.min(axis=1, initial=np.inf) / _SHADOW_RADIUS_M**2, 0, 1)
    return dark_N


def _floor_tile(rng: np.random.Generator) -> Image:
    """A texture (256, 256, 3) that repeats without a seam: checks, planks, blotches or nearly plain."""
    first, second = rng.uniform(30, 230, 3), rng.uniform(30, 230, 3)
    rows, columns = np.mgrid[:_TEXELS, :_TEXELS]
    cell = int(rng.choice([16, 32, 64]))
    kind = rng.integers(4)
    if kind == 0:
        mix = ((rows // cell + columns // cell) % 2).astype(np.float64)
    elif kind == 1:
        mix = rng.random(_TEXELS // cell)[rows // cell] * (1 - 0.5 * (rows % cell == 0))
    elif kind == 2:
        mix = _blotches(rng, (_TEXELS, _TEXELS), (4, 16, 64))
    else:
        mix = np.full((_TEXELS, _TEXELS), 0.2)
    contrast = rng.uniform(0.2, 1.0)
    grain = (_blotches(rng, (_TEXELS, _TEXELS), (8, 32, 128)) - 0.5) * rng.uniform(5, 50)
    tile = first + (second - first) * (mix * contrast)[..., None] + grain[..., None]
    return np.clip(tile, 0, 255).astype(np.float32)


def _panorama(rng: np.random.Generator) -> Image:
    """What is all round (64, 512, 3), the zenith in the first row: a sky or a wall with blotches, and blocks before it."""
    height, width = 64, 512
    top, bottom = rng.uniform(60, 255, 3), rng.uniform(60, 255, 3)
    ramp = np.linspace(0, 1, height)[:, None, None]
    far = (
        top + (bottom - top) * ramp + (_blotches(rng, (height, width), (4, 16)) - 0.5)[..., None] * rng.uniform(0, 120)
    )
    for _ in range(rng.integers(0, 30)):
        left, wide, tall = rng.integers(width), rng.integers(4, 60), rng.integers(3, 40)
        columns = np.arange(left, left + wide) % width
        far[height - tall :, columns] = rng.uniform(20, 230, 3)
    return np.clip(far, 0, 255).astype(np.float32)


def _blotches(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, ...]) -> Array:
    """Smooth noise of 0 to 1 at several scales that repeats without a seam."""
    total = np.zeros(shape)
    for count in cells:
        coarse = rng.random((count, count))
        rows, columns = (np.arange(length) * count / length for length in shape)
        total += _wrapped_rows(_wrapped_rows(coarse, rows).T, columns).T
    return total / len(cells)


def _wrapped_rows(grid: Array, places: Array) -> Array:
    """Rows of `grid` at fractional numbers, the first following the last."""
    before = places.astype(int)
    weight = (places - before)[:, None]
    between: Array = grid[before] * (1 - weight) + grid[(before + 1) % len(grid)] * weight
    return between
