"""Everything behind the figure, drawn with numpy: a textured floor with the figure's shadow, and a far panorama."""

import numpy as np
from numpy.typing import NDArray

from model.training.mocap.camera import PinholeCamera
from model.training.mocap.quaternions import Array

Image = NDArray[np.float32]
_TEXELS = 256
_FAR_HEIGHT, _FAR_WIDTH = 64, 512
_SHADOW_RADIUS_M = 0.17


class Backdrop:
    """The surroundings of one stream, seen by a camera whose frames are `width` x `height` pixels.

    Images are float32 RGB (3, H, W) of 0 to 255: planes, because numpy is slow on rows of three.
    """

    def __init__(self, rng: np.random.Generator, camera: PinholeCamera, width: int, height: int) -> None:
        across, down = ((np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1 for side in (width, height))
        x_HW, y_HW = np.meshgrid(
            (across - camera.shift_2[0]) * camera.tan_half_fov * camera.aspect,
            -(down - camera.shift_2[1]) * camera.tan_half_fov,
        )
        rays_3N = np.stack([x_HW.ravel(), y_HW.ravel(), np.full(width * height, -1.0)])
        self._width, self._height = width, height
        self._rays_3N = (rays_3N / np.linalg.norm(rays_3N, axis=0)).astype(np.float32)
        self._floor_3T = _planes(_floor_tile(rng))
        self._far_3T = _planes(_panorama(rng))
        self._texels_per_m = float(rng.uniform(0.5, 1.3) * _TEXELS / 4)
        self._horizon_31 = (
            self._far_3T[:, -_FAR_WIDTH:].mean(axis=1, keepdims=True) + self._floor_3T.mean(axis=1, keepdims=True)
        ) / 2
        self._fade_m = float(rng.uniform(5, 25))
        self._shadow = rng.uniform(0.25, 0.6) if rng.random() < 0.7 else 0.0

    def draw(self, eye_3: Array, axes_33: Array, joints_J3: Array, light_3: Array) -> Image:
        """What the camera sees without the figure, (3, H, W) of 0 to 255, with the shadow of the joints.

        `light_3` points from the floor to the light; places are in metres.
        """
        rays_3N = axes_33.T.astype(np.float32) @ self._rays_3N
        image_3N = np.empty_like(rays_3N)
        down = rays_3N[1] < -0.01
        image_3N[:, ~down] = self._far_colours(rays_3N[:, ~down])
        image_3N[:, down] = self._floor_colours(rays_3N[:, down], eye_3.astype(np.float32), joints_J3, light_3)
        image_3HW: Image = image_3N.reshape(3, self._height, self._width)
        return image_3HW

    def _floor_colours(self, rays_3N: Image, eye_3: Image, joints_J3: Array, light_3: Array) -> Image:
        distance_N = eye_3[1] / -rays_3N[1]
        x_N, z_N = eye_3[0] + rays_3N[0] * distance_N, eye_3[2] + rays_3N[2] * distance_N
        rows_N, columns_N = ((place_N * self._texels_per_m).astype(np.int32) & (_TEXELS - 1) for place_N in (x_N, z_N))
        colours_3N = self._floor_3T.take(rows_N * _TEXELS + columns_N, axis=1)
        if self._shadow:
            colours_3N *= 1 - self._shadow * _shadow(x_N, z_N, joints_J3, light_3)
        colours: Image = self._horizon_31 + (colours_3N - self._horizon_31) * np.exp(-distance_N / self._fade_m)
        return colours

    def _far_colours(self, rays_3N: Image) -> Image:
        turn_N = np.arctan2(rays_3N[2], rays_3N[0]) / (2 * np.pi) + 0.5
        rows_N = np.clip((1 - rays_3N[1]) * _FAR_HEIGHT, 0, _FAR_HEIGHT - 1).astype(np.int32)
        colours: Image = self._far_3T.take(rows_N * _FAR_WIDTH + (turn_N * _FAR_WIDTH).astype(np.int32) % _FAR_WIDTH, 1)
        return colours


def _planes(texture_HW3: Image) -> Image:
    return np.ascontiguousarray(texture_HW3.reshape(-1, 3).T)


def _shadow(x_N: Image, z_N: Image, joints_J3: Array, light_3: Array) -> Image:
    """How much of the light (N,) of 0 to 1 each floor point misses: soft discs under the joints."""
    fallen_J2 = (joints_J3[:, [0, 2]] - light_3[[0, 2]] * (joints_J3[:, 1:2] / light_3[1])).astype(np.float32)
    low, high = fallen_J2.min(axis=0) - _SHADOW_RADIUS_M, fallen_J2.max(axis=0) + _SHADOW_RADIUS_M
    near = np.flatnonzero((x_N > low[0]) & (x_N < high[0]) & (z_N > low[1]) & (z_N < high[1]))
    apart_JN = (x_N[near] - fallen_J2[:, :1]) ** 2 + (z_N[near] - fallen_J2[:, 1:]) ** 2
    dark_N = np.zeros_like(x_N)
    dark_N[near] = np.clip(1.5 - 1.5 * apart_JN.min(axis=0) / _SHADOW_RADIUS_M**2, 0, 1)
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
    tile_HW3: Image = np.clip(tile, 0, 255).astype(np.float32)
    return tile_HW3


def _panorama(rng: np.random.Generator) -> Image:
    """What is all round (64, 512, 3), the zenith in the first row: blotched sky or wall, blocks before it."""
    height, width = _FAR_HEIGHT, _FAR_WIDTH
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
