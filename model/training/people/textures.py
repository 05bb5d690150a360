"""Procedural surfaces: floors, walls, fabrics, furniture fronts and facades. Colours are RGB, 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from model.training.mocap.quaternions import Array
from model.training.people.ellipsoids import Floats

_TEXELS = 192


@dataclass(frozen=True)
class Texture:
    """`texels_HW3` repeats every `wide_m` and `high_m`; both 0: it is stretched over the face once."""

    texels_HW3: Floats
    wide_m: float = 0.0
    high_m: float = 0.0
    glow: float = 0.0
    """Brightness of its own light, 0 to 1: a window, a lamp or a screen."""


def colour(rng: np.random.Generator, low: float = 0.15, high: float = 0.9, saturation: float = 0.35) -> Array:
    """A random colour (3,) with its largest component in [low, high]."""
    hue = rng.uniform(0, 1, 3)
    value, grey = rng.uniform(low, high), 1 - saturation * rng.beta(1, 1.5)
    mixed: Array = value * (grey + (1 - grey) * hue / hue.max())
    return mixed


def floor(rng: np.random.Generator, outdoors: bool) -> Texture:
    """A random floor."""
    kinds = (
        ("asphalt", "paving", "grass", "concrete")
        if outdoors
        else ("planks", "tiles", "carpet", "checks", "marble", "dots")
    )
    return _SURFACES[str(rng.choice(kinds))](rng)


def wall(rng: np.random.Generator) -> Texture:
    """A random wall."""
    kinds, shares = ("plaster", "stripes", "wallpaper", "brick", "panels"), (0.6, 0.1, 0.12, 0.1, 0.08)
    return _SURFACES[str(rng.choice(kinds, p=shares))](rng)


def plaster(rng: np.random.Generator) -> Texture:
    """Plaster, a little stained."""
    base = colour(rng, 0.5, 0.92, 0.5)
    stains = 0.88 + 0.2 * noise(rng, (3, 8)) + 0.08 * (noise(rng, (64, 96)) - 0.5)
    return _tile(base * stains[..., None], 3.0)


def paint(rng: np.random.Generator, low: float = 0.1, high: float = 0.85, saturation: float = 0.6) -> Texture:
    """An evenly painted surface."""
    base = colour(rng, low, high, saturation)
    return _tile(base * (0.94 + 0.12 * noise(rng, (4, 16)))[..., None], 1.5)


def wood(rng: np.random.Generator) -> Texture:
    """Wood with its grain."""
    base = np.array([0.55, 0.36, 0.2]) * rng.uniform(0.4, 1.5) * rng.uniform(0.85, 1.15, 3)
    grain = cv2.resize(rng.random((_TEXELS, 6)), (_TEXELS, _TEXELS), interpolation=cv2.INTER_CUBIC)
    return _tile(base * (0.8 + 0.3 * grain + 0.1 * noise(rng, (8,)))[..., None], 1.2)


def fabric(rng: np.random.Generator) -> Texture:
    """Woven cloth, plain or patterned."""
    first, second = colour(rng, 0.15, 0.9, 0.8), colour(rng, 0.15, 0.9, 0.8)
    rows, columns = np.mgrid[:_TEXELS, :_TEXELS] * int(rng.integers(2, 9)) // _TEXELS
    kind = rng.integers(4)
    if kind == 0:
        mix = (rows % 2 + columns % 2) / 2
    elif kind == 1:
        mix = (columns % 2).astype(float)
    elif kind == 2:
        mix = (noise(rng, (12, 24)) > rng.uniform(0.45, 0.6)).astype(float)
    else:
        mix = np.zeros((_TEXELS, _TEXELS))
    folds = 0.85 + 0.3 * noise(rng, (3, 6))
    return _tile((first + (second - first) * mix[..., None]) * folds[..., None], float(rng.uniform(0.6, 1.6)))


def curtain(rng: np.random.Generator) -> Texture:
    """Cloth in vertical folds."""
    cloth = fabric(rng).texels_HW3
    folds = 0.75 + 0.25 * np.sin(np.linspace(0, rng.uniform(30, 90), _TEXELS) + 3 * noise(rng, (4,))[0])
    band = cloth.copy()
    if rng.random() < 0.4:
        band[: _TEXELS // 4] = colour(rng, 0.6, 0.95)
    return Texture((band * folds[None, :, None]).astype(np.float32))


def window(rng: np.random.Generator) -> Texture:
    """Daylight, sometimes a view, behind a frame."""
    glass = np.ones((_TEXELS, _TEXELS, 3)) * rng.uniform(0.75, 1.0) * np.array([0.95, 1.0, 1.05])
    if rng.random() < 0.5:
        glass[_TEXELS // 2 :] *= colour(rng, 0.5, 0.9)
    glass *= (0.8 + 0.2 * noise(rng, (3, 6)))[..., None]
    frame = colour(rng, 0.2, 0.9, 0.2)
    for edge in (0, _TEXELS // 2, _TEXELS - 6):
        glass[:, edge : edge + 6] = frame
    for edge in (0, _TEXELS - 6):
        glass[edge : edge + 6] = frame
    return Texture(glass.astype(np.float32), glow=float(rng.uniform(0.4, 1.0)))


def door(rng: np.random.Generator) -> Texture:
    """A door of wood or paint."""
    texels = wood(rng).texels_HW3 if rng.random() < 0.5 else paint(rng).texels_HW3
    texels = texels.copy()
    edge = texels.mean(axis=(0, 1)) * rng.uniform(0.5, 0.8)
    for row in (0.07, 0.53):
        top, bottom = int(row * _TEXELS), int((row + 0.4) * _TEXELS)
        cv2.rectangle(texels, (30, top), (_TEXELS - 30, bottom), edge.tolist(), 4)
    cv2.rectangle(texels, (0, 0), (_TEXELS - 1, _TEXELS - 1), (edge * 0.6).tolist(), 5)
    cv2.circle(texels, (_TEXELS - 18, _TEXELS // 2), 5, (0.8, 0.75, 0.6), -1)
    return Texture(texels)


def wall_image(rng: np.random.Generator) -> Texture:
    """A poster, a calendar or a painting."""
    texels = np.ones((_TEXELS, _TEXELS, 3)) * colour(rng, 0.3, 0.95, 0.8)
    for _ in range(int(rng.integers(3, 25))):
        place = tuple(int(each) for each in rng.integers(0, _TEXELS, 2))
        cv2.circle(texels, place, int(rng.integers(5, 60)), colour(rng, 0.05, 0.95, 0.9).tolist(), -1)
    cv2.rectangle(texels, (0, 0), (_TEXELS - 1, _TEXELS - 1), colour(rng, 0.05, 0.9).tolist(), 10)
    return Texture(texels.astype(np.float32))


def shelf(rng: np.random.Generator) -> Texture:
    """Rows of books, tins or boxes."""
    texels = np.ones((_TEXELS, _TEXELS, 3)) * colour(rng, 0.05, 0.35)
    rows = int(rng.integers(3, 7))
    high = _TEXELS // rows
    for row in range(rows):
        left = 2
        while left < _TEXELS - 4:
            wide = int(rng.integers(3, 16))
            tall = int(high * rng.uniform(0.5, 0.88))
            item = colour(rng, 0.1, 0.95, 0.9)
            texels[(row + 1) * high - tall : (row + 1) * high - 3, left : left + wide] = item
            left += wide + int(rng.integers(0, 3))
        texels[(row + 1) * high - 3 : (row + 1) * high] = colour(rng, 0.3, 0.9, 0.2)
    return Texture(texels.astype(np.float32))


def facade(rng: np.random.Generator) -> Texture:
    """A house front that repeats: wall and windows, or a shop window."""
    texels = _SURFACES["brick" if rng.random() < 0.4 else "plaster"](rng).texels_HW3.copy()
    across = int(rng.integers(1, 4))
    cell = _TEXELS // across
    for index in range(across):
        left = index * cell + int(0.2 * cell)
        pane = colour(rng, 0.05, 0.7, 0.4)
        texels[30:120, left : left + int(0.6 * cell)] = pane
        cv2.rectangle(texels, (left, 30), (left + int(0.6 * cell), 120), colour(rng, 0.3, 0.95, 0.2).tolist(), 3)
        texels[75:77, left : left + int(0.6 * cell)] = 0.8
    return Texture(texels, float(rng.uniform(3, 6)), float(rng.uniform(2.6, 3.4)))


def leaves(rng: np.random.Generator) -> Texture:
    """Foliage."""
    green = np.array([0.25, 0.42, 0.14]) * rng.uniform(0.5, 1.5) * rng.uniform(0.8, 1.2, 3)
    spots = rng.random((_TEXELS // 4, _TEXELS // 4))
    blown = cv2.resize(spots, (_TEXELS, _TEXELS), interpolation=cv2.INTER_LINEAR)
    return _tile(green * (0.35 + 1.1 * blown)[..., None], 0.8)


def noise(rng: np.random.Generator, cells: tuple[int, ...]) -> Array:
    """Smooth noise (192, 192) of 0 to 1 at several scales that repeats without a seam."""
    total = np.zeros((_TEXELS, _TEXELS))
    for count in cells:
        coarse = np.pad(rng.random((count, count)), ((0, 2), (0, 2)), mode="wrap")
        fine = round(_TEXELS * (count + 2) / count)
        total += cv2.resize(coarse, (fine, fine), interpolation=cv2.INTER_CUBIC)[:_TEXELS, :_TEXELS]
    return np.clip(total / len(cells), 0, 1)


def _tile(texels: Array, side_m: float) -> Texture:
    return Texture(np.clip(texels, 0, 1).astype(np.float32), side_m, side_m)


def _grid(texels: Array, rows: int, columns: int, joint: Array, shift: bool = False) -> Array:
    high, wide = _TEXELS // rows, _TEXELS // columns
    for row in range(rows):
        texels[row * high : row * high + 2] = joint
        offset = wide // 2 if shift and row % 2 else 0
        for column in range(columns):
            left = (column * wide + offset) % _TEXELS
            texels[row * high : (row + 1) * high, left : left + 2] = joint
    return texels


def _planks(rng: np.random.Generator) -> Texture:
    texels = wood(rng).texels_HW3.astype(np.float64)
    count = int(rng.choice((6, 8, 12)))
    shade = np.repeat(rng.uniform(0.75, 1.1, count), _TEXELS // count)[None, :, None]
    texels = np.transpose(texels, (1, 0, 2)) * shade
    return _tile(_grid(texels, 1, count, texels.mean(axis=(0, 1)) * 0.5), float(rng.uniform(0.9, 1.6)))


def _tiles(rng: np.random.Generator) -> Texture:
    count = int(rng.choice((2, 3, 4)))
    base = colour(rng, 0.3, 0.95, 0.3) * (0.85 + 0.2 * noise(rng, (4, 12)))[..., None]
    return _tile(_grid(base, count, count, colour(rng, 0.2, 0.8, 0.1)), count * float(rng.uniform(0.25, 0.6)))


def _checks(rng: np.random.Generator) -> Texture:
    rows, columns = np.mgrid[:_TEXELS, :_TEXELS] * 4 // _TEXELS
    first, second = colour(rng, 0.15, 0.95, 0.8), colour(rng, 0.15, 0.95, 0.8)
    mix = ((rows + columns) % 2) if rng.random() < 0.5 else (rows % 2 + columns % 2) / 2
    texels = first + (second - first) * mix[..., None]
    return _tile(texels * (0.88 + 0.2 * noise(rng, (6, 24)))[..., None], float(rng.uniform(0.8, 2.4)))


def _dots(rng: np.random.Generator) -> Texture:
    texels = np.ones((_TEXELS, _TEXELS, 3)) * colour(rng, 0.6, 0.95)
    palette = [colour(rng, 0.1, 0.8, 0.8) for _ in range(3)]
    for _ in range(60):
        place = tuple(int(each) for each in rng.integers(8, _TEXELS - 8, 2))
        cv2.circle(texels, place, int(rng.integers(4, 13)), palette[rng.integers(3)].tolist(), -1)
    return _tile(texels, float(rng.uniform(0.8, 1.8)))


def _carpet(rng: np.random.Generator) -> Texture:
    base = colour(rng, 0.15, 0.7, 0.6)
    return _tile(base * (0.75 + 0.5 * noise(rng, (6, 48)))[..., None], 1.5)


def _marble(rng: np.random.Generator) -> Texture:
    base, vein = colour(rng, 0.4, 0.95, 0.2), colour(rng, 0.1, 0.8, 0.3)
    mix = np.abs(noise(rng, (4, 8, 16)) - 0.5) * 4
    return _tile(vein + (base - vein) * np.clip(mix, 0, 1)[..., None], 2.0)


def _asphalt(rng: np.random.Generator) -> Texture:
    return _tile(colour(rng, 0.2, 0.5, 0.1) * (0.7 + 0.6 * noise(rng, (5, 20, 64)))[..., None], 3.0)


def _paving(rng: np.random.Generator) -> Texture:
    base = colour(rng, 0.35, 0.8, 0.3) * (0.7 + 0.5 * noise(rng, (6, 24)))[..., None]
    rows = int(rng.choice((4, 6, 8)))
    return _tile(_grid(base, rows, rows // 2, colour(rng, 0.15, 0.45, 0.1), shift=True), float(rng.uniform(1.0, 2.5)))


def _grass(rng: np.random.Generator) -> Texture:
    green = np.array([0.3, 0.42, 0.16]) * rng.uniform(0.6, 1.3) * rng.uniform(0.85, 1.15, 3)
    return _tile(green * (0.5 + noise(rng, (5, 24, 64)))[..., None], 2.5)


def _concrete(rng: np.random.Generator) -> Texture:
    return _tile(colour(rng, 0.4, 0.8, 0.12) * (0.75 + 0.4 * noise(rng, (3, 9, 40)))[..., None], 4.0)


def _stripes(rng: np.random.Generator) -> Texture:
    first, second = colour(rng, 0.4, 0.95, 0.4), colour(rng, 0.4, 0.95, 0.4)
    mix = (np.arange(_TEXELS) * int(rng.integers(2, 8)) // _TEXELS) % 2
    return _tile(np.broadcast_to(first + (second - first) * mix[None, :, None], (_TEXELS, _TEXELS, 3)), 1.2)


def _wallpaper(rng: np.random.Generator) -> Texture:
    base, motif = colour(rng, 0.4, 0.9, 0.5), colour(rng, 0.2, 0.9, 0.6)
    mix = (np.kron(np.ones((4, 4)), noise(rng, (3, 5))[::4, ::4]) > 0.55) * rng.uniform(0.2, 0.8)
    return _tile(base + (motif - base) * mix[..., None], 1.6)


def _brick(rng: np.random.Generator) -> Texture:
    base = np.array([0.6, 0.33, 0.24]) * rng.uniform(0.5, 1.4) * rng.uniform(0.9, 1.1, 3)
    texels = base * (0.75 + 0.45 * noise(rng, (8, 32)))[..., None]
    return _tile(_grid(texels, 12, 6, colour(rng, 0.3, 0.8, 0.1), shift=True), 1.3)


def _panels(rng: np.random.Generator) -> Texture:
    return _tile(_grid(wood(rng).texels_HW3.astype(np.float64), 1, 4, np.full(3, 0.15)), 1.2)


_SURFACES = {
    "planks": _planks,
    "tiles": _tiles,
    "checks": _checks,
    "dots": _dots,
    "carpet": _carpet,
    "marble": _marble,
    "asphalt": _asphalt,
    "paving": _paving,
    "grass": _grass,
    "concrete": _concrete,
    "stripes": _stripes,
    "wallpaper": _wallpaper,
    "brick": _brick,
    "panels": _panels,
    "plaster": plaster,
}
