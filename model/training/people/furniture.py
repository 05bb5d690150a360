"""Furniture: boxes with surfaces, set up in a place, and the seats that some of it offers.

In a piece's own frame x points to its front, y up and z to its right; a heading is an angle about the vertical.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from model.training.mocap.quaternions import Array
from model.training.people import textures
from model.training.people.backdrop import Box
from model.training.people.ragdoll import RagdollBlock
from model.training.people.textures import Texture

Part = tuple[tuple[float, float, float], tuple[float, float, float], Texture, Texture]


@dataclass(frozen=True)
class Seat:
    """Where hips rest: `place_2` (x, z), facing `heading_rad`, on a surface `height_m` high."""

    kind: str
    place_2: Array
    heading_rad: float
    height_m: float


@dataclass
class Furnishing:
    """All boxes of a place so far; `solid` ones stop a falling body and are walked round."""

    boxes: list[Box] = field(default_factory=list)
    solid: list[RagdollBlock] = field(default_factory=list)
    seats: list[Seat] = field(default_factory=list)

    def add(self, parts: Sequence[Part], place_2: Array, heading_rad: float, solid: Sequence[Part] = ()) -> None:
        """Add boxes at a place. Those of `solid` are obstacles, and not drawn."""
        for offset, half, side, top in parts:
            middle_3 = _at(place_2, heading_rad, offset)
            self.boxes.append(Box(middle_3, np.array(half), heading_rad, side, top))
        for offset, half, _, _ in solid:
            self.solid.append(RagdollBlock(_at(place_2, heading_rad, offset), np.array(half), heading_rad))

    def is_free(self, place_2: Array, radius_m: float) -> bool:
        """Whether no obstacle is within this distance."""
        return all(distance_m(block, place_2) > radius_m for block in self.solid)

    def is_clear(self, from_2: Array, to_2: Array, radius_m: float = 0.25) -> bool:
        """Whether a person can walk straight from one place to the other."""
        steps = max(2, int(np.linalg.norm(to_2 - from_2) / 0.2))
        return all(self.is_free(from_2 + (to_2 - from_2) * step / steps, radius_m) for step in range(steps + 1))


def distance_m(block: RagdollBlock, place_2: Array) -> float:
    """How far the place (x, z) on the floor is from a block's footprint, in metres; 0 inside."""
    away_2 = place_2 - block.middle_3[[0, 2]]
    cosine, sine = np.cos(block.yaw_rad), np.sin(block.yaw_rad)
    local_2 = np.array([away_2[0] * cosine - away_2[1] * sine, away_2[0] * sine + away_2[1] * cosine])
    return float(np.linalg.norm(np.maximum(np.abs(local_2) - block.half_3[[0, 2]], 0)))


def forward(heading_rad: float) -> Array:
    """The direction of a heading, (x, z) of length 1."""
    return np.array([np.cos(heading_rad), -np.sin(heading_rad)])


def _at(place_2: Array, heading_rad: float, offset: tuple[float, float, float]) -> Array:
    ahead_2, aside_2 = forward(heading_rad), forward(heading_rad - np.pi / 2)
    x, z = place_2 + ahead_2 * offset[0] + aside_2 * offset[2]
    return np.array([x, offset[1], z])


def _box(
    rng: np.random.Generator, half: tuple[float, float, float], at: tuple[float, float, float], texture: Texture
) -> Part:
    return at, half, texture, texture


def add_bed(rng: np.random.Generator, room: Furnishing, place_2: Array, heading_rad: float) -> None:
    """Add a bed, 0.9 to 1.5 m deep, with its long side to the front."""
    depth, high = float(rng.uniform(0.45, 0.75)), float(rng.uniform(0.38, 0.58))
    cover, frame, pillow = textures.fabric(rng), textures.wood(rng), textures.paint(rng, 0.6, 0.95, 0.3)
    end = float(rng.choice((-1.0, 1.0)))
    mattress: Part = ((0.0, high / 2 + 0.08, 0.0), (depth, high / 2 - 0.08, 1.0), cover, cover)
    parts = [
        mattress,
        _box(rng, (depth, 0.08, 0.98), (0.0, 0.12, 0.0), frame),
        _box(rng, (depth, float(rng.uniform(0.3, 0.5)), 0.04), (0.0, 0.4, end * 1.02), frame),
        _box(rng, (depth * 0.6, 0.06, 0.2), (0.0, high + 0.04, end * 0.72), pillow),
    ]
    room.add(parts, place_2, heading_rad, solid=[((0.0, high / 2, 0.0), (depth, high / 2, 1.0), cover, cover)])
    room.seats.append(Seat("bed", place_2 + forward(heading_rad) * (depth - 0.24), heading_rad, high))


def add_sofa(rng: np.random.Generator, room: Furnishing, place_2: Array, heading_rad: float) -> None:
    """Add a sofa or an armchair, with its seats."""
    wide, high = float(rng.choice((0.45, 0.8, 1.05))), float(rng.uniform(0.36, 0.46))
    cloth = textures.fabric(rng) if rng.random() < 0.5 else textures.paint(rng, 0.1, 0.8)
    seat: Part = ((0.05, high / 2, 0.0), (0.4, high / 2, wide), cloth, cloth)
    back: Part = ((-0.42, 0.45, 0.0), (0.1, 0.45, wide + 0.12), cloth, cloth)
    parts = [seat, back, *(_box(rng, (0.42, 0.3, 0.08), (0.0, 0.3, side * (wide + 0.06)), cloth) for side in (-1, 1))]
    room.add(parts, place_2, heading_rad, solid=[seat, back])
    for aside in (0.0,) if wide < 0.6 else (-0.4, 0.4):
        at = place_2 + forward(heading_rad) * 0.12 + forward(heading_rad - np.pi / 2) * aside
        room.seats.append(Seat("sofa", at, heading_rad, high))


def add_chair(rng: np.random.Generator, room: Furnishing, place_2: Array, heading_rad: float) -> None:
    """Add a chair with its seat."""
    look = textures.wood(rng) if rng.random() < 0.6 else textures.paint(rng)
    high, back = float(rng.uniform(0.42, 0.48)), float(rng.uniform(0.18, 0.28))
    legs = [_box(rng, (0.02, high / 2, 0.02), (x * 0.19, high / 2, z * 0.19), look) for x in (-1, 1) for z in (-1, 1)]
    seat = _box(rng, (0.22, 0.02, 0.22), (0.0, high - 0.02, 0.0), look)
    rest = _box(rng, (0.02, back, 0.2), (-0.22, high + 0.12 + back, 0.0), look)
    posts = [_box(rng, (0.02, back + 0.1, 0.02), (-0.21, high + back, z * 0.19), look) for z in (-1, 1)]
    solid: Part = ((0.0, high / 2, 0.0), (0.2, high / 2, 0.2), look, look)
    room.add([*legs, seat, rest, *posts], place_2, heading_rad, solid=[solid, rest])
    room.seats.append(Seat("chair", place_2, heading_rad, high))


def add_table(rng: np.random.Generator, room: Furnishing, place_2: Array, heading_rad: float) -> None:
    """Add a table, with things on it."""
    look, high = textures.wood(rng) if rng.random() < 0.7 else textures.paint(rng), float(rng.uniform(0.45, 0.78))
    x, z = float(rng.uniform(0.3, 0.5)), float(rng.uniform(0.4, 0.9))
    top = _box(rng, (x, 0.025, z), (0.0, high, 0.0), look)
    legs = [
        _box(rng, (0.03, high / 2, 0.03), (a * (x - 0.06), high / 2, b * (z - 0.06)), look)
        for a in (-1, 1)
        for b in (-1, 1)
    ]
    things = [
        _box(
            rng,
            (0.06, float(rng.uniform(0.02, 0.12)), 0.06),
            (float(rng.uniform(-x, x)) * 0.8, high + 0.06, float(rng.uniform(-z, z)) * 0.8),
            textures.paint(rng, 0.1, 0.95, 0.9),
        )
        for _ in range(int(rng.integers(0, 5)))
    ]
    room.add([top, *legs, *things], place_2, heading_rad, solid=[top])


def add_cupboard(rng: np.random.Generator, room: Furnishing, place_2: Array, heading_rad: float) -> None:
    """Add a wardrobe, a shelf, a chest of drawers, a fridge or a counter."""
    front = textures.shelf(rng) if rng.random() < 0.45 else textures.door(rng)
    body = textures.paint(rng) if rng.random() < 0.5 else textures.wood(rng)
    high, wide = float(rng.choice((0.4, 0.45, 0.7, 0.95, 1.0))), float(rng.uniform(0.3, 1.0))
    depth = float(rng.uniform(0.18, 0.3))
    whole: Part = ((0.0, high, 0.0), (depth, high, wide), body, body)
    face: Part = ((depth, high, 0.0), (0.012, high * 0.95, wide * 0.96), front, body)
    on_top = [
        _box(
            rng,
            (0.1, 0.12, 0.15),
            (0.0, 2 * high + 0.12, float(rng.uniform(-wide, wide)) * 0.7),
            textures.paint(rng, 0.1, 0.9, 0.9),
        )
        for _ in range(int(rng.integers(0, 3)))
    ]
    room.add([whole, face, *on_top], place_2, heading_rad, solid=[whole])


def add_plant(rng: np.random.Generator, room: Furnishing, place_2: Array, heading_rad: float) -> None:
    """Add a potted plant."""
    pot, green = textures.paint(rng), textures.leaves(rng)
    high = float(rng.uniform(0.3, 0.8))
    solid = _box(rng, (0.14, 0.15, 0.14), (0.0, 0.15, 0.0), pot)
    leaves = [
        ((float(rng.normal(0, 0.1)), 0.3 + high * part, float(rng.normal(0, 0.1))), (0.12, 0.14, 0.12), green, green)
        for part in (0.2, 0.5, 0.8, 1.0)
    ]
    room.add([solid, *leaves], place_2, heading_rad, solid=[solid])


def add_screen(rng: np.random.Generator, room: Furnishing, place_2: Array, heading_rad: float) -> None:
    """Add a television on a low cupboard."""
    body, bright = textures.wood(rng), rng.random() < 0.5
    shown = textures.wall_image(rng)
    screen = Texture(shown.texels_HW3 if bright else shown.texels_HW3 * np.float32(0.05), glow=0.9 if bright else 0.0)
    low: Part = ((0.0, 0.25, 0.0), (0.22, 0.25, 0.7), body, body)
    room.add([low, ((0.0, 0.9, 0.0), (0.03, 0.32, 0.55), screen, body)], place_2, heading_rad, solid=[low])


def add_counter(rng: np.random.Generator, room: Furnishing, place_2: Array, heading_rad: float) -> None:
    """Add a counter with things on it."""
    front, top = textures.paint(rng), textures.wood(rng)
    half = (0.3, float(rng.uniform(0.42, 0.52)), float(rng.uniform(0.6, 1.6)))
    whole: Part = ((0.0, half[1], 0.0), half, front, top)
    things = [
        _box(
            rng,
            (0.12, 0.12, 0.15),
            (0.0, 2 * half[1] + 0.12, float(rng.uniform(-1, 1)) * half[2] * 0.8),
            textures.paint(rng, 0.05, 0.9, 0.8),
        )
        for _ in range(int(rng.integers(0, 4)))
    ]
    room.add([whole, *things], place_2, heading_rad, solid=[whole])


def add_rack(rng: np.random.Generator, room: Furnishing, place_2: Array, heading_rad: float) -> None:
    """Add shop shelves with goods on both sides."""
    goods, body = textures.shelf(rng), textures.paint(rng)
    high, wide = float(rng.uniform(0.6, 1.0)), float(rng.uniform(0.8, 1.8))
    whole: Part = ((0.0, high, 0.0), (0.28, high, wide), goods, body)
    room.add([whole], place_2, heading_rad, solid=[whole])


def add_car(rng: np.random.Generator, room: Furnishing, place_2: Array, heading_rad: float) -> None:
    """Add a parked car."""
    paint, glass, tyre = (
        textures.paint(rng, 0.05, 0.95, 0.7),
        textures.paint(rng, 0.05, 0.2, 0.1),
        textures.paint(rng, 0.03, 0.1, 0.0),
    )
    lamp = Texture(np.ones((4, 4, 3), np.float32), glow=0.5)
    body: Part = ((0.0, 0.6, 0.0), (2.1, 0.3, 0.85), paint, paint)
    cabin: Part = ((-0.2, 1.15, 0.0), (1.1, 0.28, 0.74), glass, paint)
    wheels = [_box(rng, (0.32, 0.32, 0.1), (x * 1.3, 0.32, z * 0.8), tyre) for x in (-1, 1) for z in (-1, 1)]
    lamps = [_box(rng, (0.02, 0.08, 0.14), (2.1, 0.65, z * 0.6), lamp) for z in (-1, 1)]
    solid: Part = ((0.0, 0.7, 0.0), (2.1, 0.7, 0.85), paint, paint)
    room.add([body, cabin, *wheels, *lamps], place_2, heading_rad, solid=[solid])


def add_tree(rng: np.random.Generator, room: Furnishing, place_2: Array, heading_rad: float) -> None:
    """Add a tree."""
    bark, green = textures.wood(rng), textures.leaves(rng)
    trunk = _box(rng, (0.12, 1.3, 0.12), (0.0, 1.3, 0.0), bark)
    crown: list[Part] = []
    for _ in range(7):
        at = (float(rng.normal(0, 0.6)), float(rng.uniform(2.3, 4.2)), float(rng.normal(0, 0.6)))
        size = float(rng.uniform(0.35, 0.8))
        crown.append((at, (size, size * 0.8, size), green, green))
    room.add([trunk, *crown], place_2, heading_rad, solid=[trunk])


def add_bench(rng: np.random.Generator, room: Furnishing, place_2: Array, heading_rad: float) -> None:
    """Add a bench with its seat."""
    look = textures.wood(rng) if rng.random() < 0.7 else textures.paint(rng)
    seat = _box(rng, (0.22, 0.03, 0.7), (0.0, 0.43, 0.0), look)
    rest = _box(rng, (0.03, 0.15, 0.7), (-0.22, 0.75, 0.0), look)
    legs = [_box(rng, (0.2, 0.21, 0.03), (0.0, 0.21, z * 0.6), look) for z in (-1, 1)]
    solid: Part = ((0.0, 0.22, 0.0), (0.22, 0.22, 0.7), look, look)
    room.add([seat, rest, *legs], place_2, heading_rad, solid=[solid, rest])
    for aside in (-0.35, 0.35):
        room.seats.append(Seat("chair", place_2 + forward(heading_rad - np.pi / 2) * aside, heading_rad, 0.45))
